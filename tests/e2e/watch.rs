//! `[runtime] watch = true`: a file that is replaced is read at once, whatever way it is replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::config::{forward, forward_with};
use crate::harness::process::thread_names;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_file_that_is_replaced_is_read,
    a_mount_of_kubernetes_that_is_swapped_is_read,
    included_files_are_watched_too,
    nothing_is_watched_unless_it_is_asked_for,
    watching_begins_and_ends_by_a_reload,
    a_check_leaves_a_replaced_file_to_the_watch,
);

fn configuration(scheduler: Scheduler, runtime: &str, shares: u32) -> String {
    let listener = format!("shares = {shares}");
    proxy::configuration(
        scheduler,
        runtime,
        &forward_with(&["builtin:echo"], &listener, ""),
    )
}

/// Long enough for what must not happen.
const WHILE: Duration = Duration::from_secs(1);

const WATCH: &str = "watch = true\n";

fn has_shares(proxy: &Proxy, shares: u32) -> bool {
    let config = proxy.get("/config");
    let config = String::from_utf8(config.body).expect("UTF-8");
    config.contains(&format!("shares = {shares}\n"))
}

fn until_shares(proxy: &Proxy, shares: u32) {
    wait::until(&format!("shares are {shares}"), || {
        has_shares(proxy, shares)
    });
}

fn is_watching(proxy: &Proxy) -> bool {
    let names = thread_names(proxy.pid());
    names.iter().any(|name| name == "corelane-watch")
}

/// As an editor does: another file, renamed over it.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("write");
    fs::rename(next, path).expect("rename");
}

fn a_file_that_is_replaced_is_read(scheduler: Scheduler) {
    let text = |shares| configuration(scheduler, WATCH, shares);
    let proxy = Proxy::start_file(&text(1000));
    let file = proxy.directory().join("corelane.toml");
    wait::until("it is watched", || is_watching(&proxy));
    replace(&file, &text(70));
    until_shares(&proxy, 70);
    // Written in place.
    fs::write(&file, text(80)).expect("write");
    until_shares(&proxy, 80);
    // One that is refused is watched like any other.
    replace(&file, &text(0));
    let success = || proxy.metric("corelane_config_last_reload_success", &[]) == 1.0;
    wait::until("it is refused", || !success());
    assert!(has_shares(&proxy, 80));
    replace(&file, &text(90));
    until_shares(&proxy, 90);
    assert!(success());
    // Gone, and there again: nothing is read in between.
    fs::remove_file(&file).expect("remove");
    thread::sleep(WHILE);
    fs::write(&file, text(100)).expect("write");
    until_shares(&proxy, 100);
    let log = proxy.log();
    assert!(!log.contains("No such file"), "{log}");
    proxy.stop();
}

/// The file is a link to a link, of which the second one is renamed over.
fn a_mount_of_kubernetes_that_is_swapped_is_read(scheduler: Scheduler) {
    let text = |shares| configuration(scheduler, WATCH, shares);
    let proxy = Proxy::start_file(&text(1000));
    let mount = proxy.directory().join("mount");
    let put = |version: &str, shares| {
        let folder = mount.join(version);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("corelane.toml"), text(shares)).expect("write");
        symlink(version, mount.join("..data_tmp")).expect("a link");
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("rename");
    };
    put("..1", 70);
    symlink("..data/corelane.toml", mount.join("corelane.toml")).expect("a link");
    // The file itself becomes a link to that.
    let next = proxy.directory().join("next");
    symlink("mount/corelane.toml", &next).expect("a link");
    wait::until("it is watched", || is_watching(&proxy));
    fs::rename(next, proxy.directory().join("corelane.toml")).expect("rename");
    until_shares(&proxy, 70);
    for (version, old, shares) in [("..2", "..1", 80), ("..3", "..2", 90)] {
        put(version, shares);
        until_shares(&proxy, shares);
        fs::remove_dir_all(mount.join(old)).expect("remove");
    }
    proxy.stop();
}

/// Also those that a pattern finds only now, in a folder that wasn't there.
fn included_files_are_watched_too(scheduler: Scheduler) {
    let text = proxy::configuration(scheduler, WATCH, &forward(&["builtin:echo"]));
    let proxy = Proxy::start_file(&format!("include = [\"conf.d/*.toml\"]\n{text}"));
    wait::until("it is watched", || is_watching(&proxy));
    assert!(has_shares(&proxy, 1000));
    let folder = proxy.directory().join("conf.d");
    fs::create_dir(&folder).expect("a folder");
    thread::sleep(WHILE);
    let file = folder.join("a.toml");
    replace(&file, "listeners.main.shares = 70\n");
    until_shares(&proxy, 70);
    replace(&file, "listeners.main.shares = 80\n");
    until_shares(&proxy, 80);
    fs::remove_file(&file).expect("remove");
    until_shares(&proxy, 1000);
    proxy.stop();
}

fn nothing_is_watched_unless_it_is_asked_for(scheduler: Scheduler) {
    let proxy = Proxy::start_file(&configuration(scheduler, "", 1000));
    let file = proxy.directory().join("corelane.toml");
    replace(&file, &configuration(scheduler, "", 70));
    proxy.signal(Signal::HUP);
    until_shares(&proxy, 70);
    assert!(!is_watching(&proxy));
    proxy.stop();
}

fn watching_begins_and_ends_by_a_reload(scheduler: Scheduler) {
    let proxy = Proxy::start_file(&configuration(scheduler, "", 1000));
    let file = proxy.directory().join("corelane.toml");
    replace(&file, &configuration(scheduler, WATCH, 70));
    proxy.signal(Signal::HUP);
    wait::until("it is watched", || is_watching(&proxy));
    until_shares(&proxy, 70);
    replace(&file, &configuration(scheduler, "", 80));
    until_shares(&proxy, 80);
    wait::until("it is no longer watched", || !is_watching(&proxy));
    replace(&file, &configuration(scheduler, "", 90));
    thread::sleep(WHILE);
    assert!(has_shares(&proxy, 80));
    proxy.stop();
}

fn a_check_leaves_a_replaced_file_to_the_watch(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let text = |shares: u32| {
        let routes = forward_with(&["builtin:echo"], &format!("shares = {shares}"), "");
        proxy::configuration_with(scheduler, WATCH, &format!("socket = {socket:?}\n"), &routes)
    };
    let proxy = Proxy::start_file(&text(1000));
    wait::until("it is watched", || is_watching(&proxy));
    replace(&proxy.directory().join("corelane.toml"), &text(70));
    let mut check = proxy::command();
    let check = check.args(["reload", "--check", "--socket"]).arg(&socket);
    let output = check.output().expect("corelane runs");
    assert!(output.status.success(), "{output:?}");
    until_shares(&proxy, 70);
    proxy.stop();
}
