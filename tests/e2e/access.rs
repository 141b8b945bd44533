//! `allow` and `deny`: who is let in, by the address, also from files that are replaced while the proxy runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::Signal;

use crate::harness::config::{forward_with, route};
use crate::harness::peer::{self, connect_from};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, DEADLINE};

each_scheduler!(
    who_is_denied_is_closed_and_counted,
    a_list_of_allow_denies_the_rest,
    clients_of_unix_sockets_have_an_entry_of_their_own,
    lists_change_by_a_reload_and_open_connections_stay,
    a_list_that_is_replaced_is_in_force_without_a_reload,
    a_bad_list_leaves_the_last_good_one_in_force,
    a_list_that_is_not_there_keeps_the_proxy_from_starting,
    a_hundred_thousand_entries,
);

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// Whether a client with this address is served by the listener `main`.
fn serves(proxy: &Proxy, last: u8) -> bool {
    let client = connect_from(loopback(last), proxy.address("main"));
    echoes(&client)
}

fn echoes(mut client: &TcpStream) -> bool {
    let asked = client.write_all(b"?");
    asked.is_ok() && client.read(&mut [0; 1]).is_ok_and(|size| size == 1)
}

fn rejected(proxy: &Proxy, reason: &str) -> f64 {
    let labels = [("listener", "main"), ("reason", reason)];
    proxy.metric("corelane_listener_rejected_total", &labels)
}

fn entries(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_client_list_entries", &[])
}

fn is_in_order(proxy: &Proxy) -> bool {
    proxy.metric("corelane_client_list_last_read_success", &[]) == 1.0
}

fn limited(listener: &str) -> String {
    forward_with(&["builtin:echo"], listener, "")
}

/// As an editor does: another file, renamed over it.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("write");
    fs::rename(next, path).expect("rename");
}

fn who_is_denied_is_closed_and_counted(scheduler: Scheduler) {
    let lists = "allow = [\"0.0.0.0/0\", \"127.0.0.9\"]\ndeny = [\"127.0.0.8/29\", \"127.0.0.3\"]";
    let proxy = Proxy::start(scheduler, &limited(lists));
    for (client, is_served) in [(1, true), (3, false), (7, true), (8, false), (9, true)] {
        assert_eq!(serves(&proxy, client), is_served, "127.0.0.{client}");
    }
    // Who says nothing sees an orderly end.
    let mut silent = connect_from(loopback(3), proxy.address("main"));
    assert_eq!(peer::end_of(&mut silent), None);
    wait::until("3 are counted", || rejected(&proxy, "denied") == 3.0);
    let accepted = proxy.metric(
        "corelane_listener_connections_total",
        &[("listener", "main")],
    );
    assert_eq!(accepted, 3.0, "who is denied is no connection");
    proxy.stop();
}

fn a_list_of_allow_denies_the_rest(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &limited("allow = [\"127.0.0.2/31\", \"::/0\"]"));
    for (client, is_served) in [(1, false), (2, true), (3, true), (4, false)] {
        assert_eq!(serves(&proxy, client), is_served, "127.0.0.{client}");
    }
    proxy.stop();
}

fn clients_of_unix_sockets_have_an_entry_of_their_own(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let served = |name: &str, lists: &str| {
        let path = directory.path().join(name);
        let bind = format!("unix:{}", path.display());
        let proxy = Proxy::start(
            scheduler,
            &route("main", &bind, &["builtin:echo"], lists, ""),
        );
        let mut client = UnixStream::connect(&path).expect("connect");
        client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let asked = client.write_all(b"?");
        let served = asked.is_ok() && client.read(&mut [0; 1]).is_ok_and(|size| size == 1);
        drop(client);
        assert_eq!(rejected(&proxy, "denied"), f64::from(u8::from(!served)));
        proxy.stop();
        served
    };
    assert!(served("1", "allow = \"unix\""));
    assert!(!served("2", "deny = \"unix\""));
    assert!(!served("3", "allow = \"0.0.0.0/0\""));
    assert!(served("4", "deny = [\"0.0.0.0/0\", \"::/0\"]"));
}

fn lists_change_by_a_reload_and_open_connections_stay(scheduler: Scheduler) {
    let text = |lists: &str| proxy::configuration(scheduler, "", &limited(lists));
    let proxy = Proxy::start_file(&text(""));
    let file = proxy.directory().join("corelane.toml");
    let open = connect_from(loopback(2), proxy.address("main"));
    assert!(echoes(&open));
    let reload = |lists: &str, wanted: &str| {
        fs::write(&file, text(lists)).expect("write");
        proxy.signal(Signal::HUP);
        wait::until("it is reloaded", || {
            let config = String::from_utf8(proxy.get("/config").body).expect("UTF-8");
            let lists: Vec<_> = config
                .lines()
                .filter(|line| line.starts_with("allow") || line.starts_with("deny"))
                .collect();
            lists.join(" ") == wanted
        });
    };
    reload("deny = \"127.0.0.2\"", "deny = [\"127.0.0.2\"]");
    assert!(!serves(&proxy, 2) && serves(&proxy, 3));
    reload("allow = \"127.0.0.2\"", "allow = [\"127.0.0.2\"]");
    assert!(serves(&proxy, 2) && !serves(&proxy, 3));
    reload("", "");
    assert!(serves(&proxy, 2) && serves(&proxy, 3));
    assert!(echoes(&open), "who is in stays in");
    drop(open);
    proxy.stop();
}

fn a_list_that_is_replaced_is_in_force_without_a_reload(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("deny.txt");
    fs::write(&list, "127.0.0.2 # one\n").expect("write");
    let deny = format!("deny = [\"file:{}\", \"127.0.0.9\"]", list.display());
    let proxy = Proxy::start(scheduler, &limited(&deny));
    let open = connect_from(loopback(3), proxy.address("main"));
    assert!(echoes(&open));
    assert!(!serves(&proxy, 2) && !serves(&proxy, 9));
    assert_eq!(entries(&proxy), 1.0);
    replace(&list, "127.0.0.3\n127.0.0.4\n");
    wait::until("it is in force", || entries(&proxy) == 2.0);
    for (client, is_served) in [(2, true), (3, false), (4, false), (9, false)] {
        assert_eq!(serves(&proxy, client), is_served, "127.0.0.{client}");
    }
    // Written in place.
    fs::write(&list, "").expect("write");
    wait::until("it is in force", || entries(&proxy) == 0.0);
    assert!(serves(&proxy, 3) && !serves(&proxy, 9));
    assert!(echoes(&open), "who is in stays in");
    assert!(is_in_order(&proxy));
    drop(open);
    proxy.stop();
}

fn a_bad_list_leaves_the_last_good_one_in_force(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("allow.txt");
    fs::write(&list, "127.0.0.2\n").expect("write");
    let text = |more: &str| {
        let allow = format!("allow = \"file:{}\"\n{more}", list.display());
        proxy::configuration(scheduler, "", &limited(&allow))
    };
    let proxy = Proxy::start_file(&text(""));
    replace(&list, "127.0.0.3\n127.0.0.4/8\n");
    wait::until("it is told", || !is_in_order(&proxy));
    assert!(serves(&proxy, 2) && !serves(&proxy, 3));
    proxy.logs("allow.txt is not in order: line 2: \"127.0.0.4/8\" is no network or address");
    // A reload goes on with it, too.
    fs::write(
        proxy.directory().join("corelane.toml"),
        text("deny = \"127.0.0.5\""),
    )
    .expect("write");
    proxy.signal(Signal::HUP);
    wait::until("it is reloaded", || {
        let config = String::from_utf8(proxy.get("/config").body).expect("UTF-8");
        config.contains("127.0.0.5")
    });
    assert!(serves(&proxy, 2) && !serves(&proxy, 3));
    replace(&list, "127.0.0.3\n");
    wait::until("it is in order", || is_in_order(&proxy));
    assert!(!serves(&proxy, 2) && serves(&proxy, 3));
    // So does one that is gone.
    fs::remove_file(&list).expect("remove");
    wait::until("it is told", || !is_in_order(&proxy));
    assert!(!serves(&proxy, 2) && serves(&proxy, 3));
    replace(&list, "127.0.0.2\n");
    wait::until("it is in order", || is_in_order(&proxy));
    assert!(serves(&proxy, 2));
    proxy.stop();
}

fn a_list_that_is_not_there_keeps_the_proxy_from_starting(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("corelane.toml");
    let list = directory.path().join("deny.txt");
    let deny = format!("deny = \"file:{}\"", list.display());
    let text = proxy::configuration(scheduler, "", &limited(&deny));
    fs::write(&file, text).expect("write");
    for command in ["run", "check"] {
        let mut corelane = proxy::command();
        let output = corelane.arg(command).arg(&file).output();
        let output = output.expect("corelane runs");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        let wanted = format!("cannot read the list {}; check its path", list.display());
        assert!(said.contains(&wanted), "{command}: {said}");
    }
    fs::write(&list, "10.0.0.0/8").expect("write");
    let mut check = proxy::command();
    let output = check.arg("check").arg(&file).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
}

fn a_hundred_thousand_entries(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("deny.txt");
    let text = |first: u8| {
        let addresses = (0..100_000_u32).map(|index| {
            let [_, a, b, c] = index.to_be_bytes();
            format!("{first}.{a}.{b}.{c}\n")
        });
        addresses.collect::<String>()
    };
    fs::write(&list, text(126)).expect("write");
    let deny = format!("deny = \"file:{}\"", list.display());
    let proxy = Proxy::start(scheduler, &limited(&deny));
    assert_eq!(entries(&proxy), 100_000.0);
    assert!(serves(&proxy, 2));
    replace(&list, &(text(127) + "# one more\n10.0.0.0/8\n"));
    wait::until("it is in force", || entries(&proxy) == 100_001.0);
    assert!(!serves(&proxy, 2));
    proxy.stop();
}
