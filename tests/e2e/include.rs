//! A configuration of several files, with variables of the environment, or from standard input.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::config::{forward, route};
use crate::harness::hang;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    files_are_reloaded_with_the_one_that_includes_them,
    a_configuration_from_standard_input_is_read_once,
);

/// Writes files into a directory, and the directories in between.
fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("write");
    }
}

fn check(command: &mut std::process::Command) -> (Option<i32>, String) {
    let mut child = Child::spawn(command, Signal::KILL);
    let code = child.wait().code();
    (code, child.whole_log())
}

#[test]
fn errors_are_at_the_place_of_the_file_that_has_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let listeners = "[listeners.a]\nbind = \"127.0.0.1:0\"\nupstream = \"b\"\n";
    write(
        directory.path(),
        &[
            (
                "corelane.toml",
                &format!("include = [\"conf.d/*.toml\", \"none.toml\"]\n{listeners}"),
            ),
            (
                "conf.d/b.toml",
                "[upstreams.b]\nservers = [\"builtin:echo\"]\n",
            ),
        ],
    );
    let file = directory.path().join("corelane.toml");
    let check_file = || check(proxy::command().arg("check").arg(&file));
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (code, log) = check_file();
    let said = format!(
        "{}:1:29: `include` of \"none.toml\" fails: cannot read the file {}; check its path: No such file",
        at("corelane.toml"),
        at("none.toml")
    );
    assert!(code == Some(1) && log.contains(&said), "{log}");

    write(
        directory.path(),
        &[
            (
                "none.toml",
                "\n[upstreams.b]\nservers = [\"a:1\"]\nbalanse = 1\n",
            ),
            (
                "conf.d/c.toml",
                "[upstreams.b]\nconnect_timeout = \"${CORELANE_TEST_NONE}\"\n",
            ),
        ],
    );
    let (code, log) = check_file();
    let again = format!(
        "{}:3:1: `upstreams.b.servers` is written already, at {}:2:1; remove one of the two",
        at("none.toml"),
        at("conf.d/b.toml")
    );
    let unknown = format!("{}:4:1: unknown key `balanse`", at("none.toml"));
    let variable = format!(
        "{}:2:19: `upstreams.b.connect_timeout` uses the variable CORELANE_TEST_NONE, which is not set",
        at("conf.d/c.toml")
    );
    let all = [again, unknown, variable]
        .iter()
        .all(|said| log.contains(said.as_str()));
    assert!(code == Some(1) && all, "{log}");

    write(
        directory.path(),
        &[("none.toml", "upstreams.b.balance = \"round-robin\"\n")],
    );
    let (code, log) = check(
        proxy::command()
            .env("CORELANE_TEST_NONE", "7s")
            .arg("check")
            .arg(&file),
    );
    assert_eq!(code, Some(0), "{log}");
}

/// What is wrong with an included file that can be anything, too, within bounds.
#[test]
fn an_included_pipe_without_a_writer_is_refused_in_time() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        directory.path(),
        &[("corelane.toml", "include = [\"pipe\"]\n")],
    );
    let pipe = directory.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a FIFO");
    let (code, log) = check(
        proxy::command()
            .arg("check")
            .arg(directory.path().join("corelane.toml")),
    );
    let said = format!(
        "cannot read the configuration {}: it is a pipe, and nobody wrote to it for 5s",
        pipe.display()
    );
    assert!(code == Some(1) && log.contains(&said), "{log}");
}

#[test]
fn an_included_file_on_a_file_system_that_hangs_is_refused_in_time() {
    hang::with_own_mounts(|| {
        let directory = tempfile::tempdir().expect("a directory");
        write(
            directory.path(),
            &[
                ("corelane.toml", "include = [\"*.hung\"]\n"),
                ("a.hung", ""),
            ],
        );
        let hung = directory.path().join("a.hung");
        let Some(_server) = hang::hang(&hung) else {
            return;
        };
        let (code, log) = check(
            proxy::command()
                .arg("check")
                .arg(directory.path().join("corelane.toml")),
        );
        let said = format!(
            "cannot read the configuration {}: it was not read within 5s",
            hung.display()
        );
        assert!(code == Some(1) && log.contains(&said), "{log}");
    });
}

#[test]
fn errors_of_standard_input_have_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("input");
    let text = format!("[runtime]\npin = 1\n{}", forward(&["builtin:echo"]));
    fs::write(&path, text).expect("write");
    for command in ["check", "run", "compare"] {
        let input = Stdio::from(File::open(&path).expect("open"));
        let (code, log) = Child::end_with_input(proxy::command().args([command, "-"]), input);
        let said = "<stdin>:2:7: `runtime.pin` must be true or false, not 1";
        assert!(code == Some(1) && log.contains(said), "{command}: {log}");
    }
    fs::write(&path, forward(&["builtin:echo"])).expect("write");
    let input = Stdio::from(File::open(&path).expect("open"));
    let (code, log) = Child::end_with_input(proxy::command().args(["check", "-"]), input);
    assert!(code == Some(0) && log.contains("-: ok"), "{log}");
}

/// The label of `corelane_config_info`.
fn hash(proxy: &Proxy) -> String {
    let metrics = proxy.get("/metrics");
    let metrics = String::from_utf8(metrics.body).expect("UTF-8");
    let found = metrics.split_once("corelane_config_info{hash=\"");
    let (_, rest) = found.expect("the family");
    let (hash, _) = rest.split_once("\"} 1\n").expect("one of value 1");
    assert_eq!(hash.len(), 16, "{hash}");
    hash.to_owned()
}

fn files_are_reloaded_with_the_one_that_includes_them(scheduler: Scheduler) {
    let whole = proxy::configuration(scheduler, "", &forward(&["builtin:echo"]));
    let proxy = Proxy::start_file(&whole);
    let shares = |shares: u32| {
        let line = format!("shares = {shares}\n");
        let config = proxy.get("/config");
        String::from_utf8(config.body)
            .expect("UTF-8")
            .contains(&line)
    };
    let success = || proxy.metric("corelane_config_last_reload_success", &[]) == 1.0;
    assert!(shares(1000));
    let first = hash(&proxy);
    let include = format!("include = [\"conf.d/*.toml\"]\n{whole}");
    write(
        proxy.directory(),
        &[
            ("corelane.toml", &include),
            ("conf.d/a.toml", "listeners.main.shares = 70\n"),
        ],
    );
    proxy.signal(Signal::HUP);
    wait::until("the included file is read", || shares(70));
    let second = hash(&proxy);
    assert_ne!(first, second);
    write(
        proxy.directory(),
        &[("conf.d/b.toml", "listeners.main.shares = 80\n")],
    );
    proxy.signal(Signal::HUP);
    wait::until("it is refused", || !success());
    let b = proxy.directory().join("conf.d/b.toml");
    let said = format!(
        "{}:1:16: `listeners.main.shares` is written already, at",
        b.display()
    );
    wait::until("the log says why", || proxy.log().contains(&said));
    assert!(shares(70));
    assert_eq!(hash(&proxy), second);
    fs::remove_file(proxy.directory().join("conf.d/a.toml")).expect("remove");
    proxy.signal(Signal::HUP);
    wait::until("the other one is read", || shares(80));
    assert!(success());
    // The same again, in one file and with the default written out.
    let again = whole.replace("bind =", "shares = 1000\nbind =");
    write(proxy.directory(), &[("corelane.toml", &again)]);
    proxy.signal(Signal::HUP);
    wait::until("the first one is back", || shares(1000));
    assert_eq!(hash(&proxy), first);
    proxy.stop();
}

fn a_configuration_from_standard_input_is_read_once(scheduler: Scheduler) {
    let text = proxy::configuration(
        scheduler,
        "watch = true\n",
        &route("main", "127.0.0.1:0", &["builtin:echo"], "", ""),
    );
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let mut child = Child::spawn_with_input(
        proxy::command().args(["run", "-"]),
        reader.into(),
        Signal::KILL,
    );
    writer.write_all(text.as_bytes()).expect("write");
    drop(writer);
    wait::until("it is ready", || {
        child.log().lines().any(|line| line == "ready")
    });
    wait::until("the log says that it can't be watched", || {
        child.log().contains("`watch` of [runtime] has no effect")
    });
    child.signal(Signal::HUP);
    let said = "it came from standard input (-), which can be read only once";
    wait::until("the log says so", || child.log().contains(said));
    child.signal(Signal::TERM);
    assert_eq!(child.wait().code(), Some(0));
}
