//! A proxy that is the first process of a container: it stays as long as the container is to live, whichever process serves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::config::forward_with;
use crate::harness::heirs::{self, Heirs};
use crate::harness::peer;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    the_container_lives_on_over_an_upgrade,
    logs_are_reopened_while_connections_go_over,
);

/// What starts a command as the first process of a container.
const CONTAINER: [&str; 5] = ["--pid", "--fork", "--kill-child", "--mount-proc", "--"];

/// A proxy whose first process has number 1, and the number that it has outside. None, and says why, where that isn't permitted.
fn start(text: &str) -> Option<(Proxy, u32)> {
    let tried = Command::new("unshare").args(CONTAINER).arg("true").output();
    match tried {
        Ok(tried) if tried.status.success() => {}
        tried => {
            println!("skipped: no namespace for processes: {tried:?}");
            return None;
        }
    }
    let mut command = Command::new("unshare");
    command.args(CONTAINER).arg(proxy::command().get_program());
    let proxy = Proxy::start_command(command, text);
    let first = children(proxy.pid());
    assert_eq!(first.len(), 1, "it has one child");
    assert!(numbers(first[0]).ends_with("\t1"), "{}", numbers(first[0]));
    let first = first[0];
    Some((proxy, first))
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace();
    children.map(|pid| pid.parse().expect("a number")).collect()
}

/// Its numbers, the innermost last.
fn numbers(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("NSpid:"));
    line.expect("NSpid").to_owned()
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('Z'))
}

/// A process in the container whose parent ends before it does is waited for when it ends.
fn reaps(first: u32) {
    let mut command = Command::new("nsenter");
    command.args(["--target", &first.to_string(), "--pid", "--"]);
    let before = children(first);
    let left = command
        .args(["sh", "-c", "sleep 0.2 </dev/null >/dev/null 2>&1 &"])
        .status();
    assert!(left.expect("nsenter").success());
    wait::until("it has ended, and was waited for", || {
        let now = children(first);
        let more = now.iter().filter(|pid| !before.contains(pid));
        more.count() == 0
    });
    assert!(!children(first).into_iter().any(is_zombie));
}

/// SIGUSR2, until the new process accepts.
fn upgrade(proxy: &Proxy, first: u32) {
    heirs::signal(first, Signal::USR2);
    wait::until("the new process accepts", || {
        proxy.log().contains("the new process accepts")
    });
}

fn echoes(client: &mut TcpStream) {
    client.write_all(b"!").expect("write");
    client.read_exact(&mut [0]).expect("the byte comes back");
}

fn the_container_lives_on_over_an_upgrade(scheduler: Scheduler) {
    let echo = peer::echo();
    let routes = forward_with(&[&echo.address().to_string()], "", "");
    let text = |runtime: &str| configuration(scheduler, runtime, &routes);
    let Some((mut proxy, first)) = start(&text("")) else {
        return;
    };
    let heirs = Heirs::of(&proxy);
    assert_eq!(heirs.pids(), [first]);
    reaps(first);
    let mut stays = proxy.connect("main");
    echoes(&mut stays);
    upgrade(&proxy, first);
    let second = heirs.only();
    assert_ne!(second, first);
    echoes(&mut stays);
    echoes(&mut proxy.connect("main"));
    // The first one watches, and passes signals on.
    reaps(first);
    let file = proxy.directory().join("corelane.toml");
    fs::write(file, text("drain_timeout = \"9s\"\n")).expect("write");
    heirs::signal(first, Signal::HUP);
    wait::until("it is reloaded", || {
        proxy.log().contains("reloaded the configuration")
    });
    heirs::signal(first, Signal::USR2);
    wait::until("another one runs", || {
        let pids = heirs.pids();
        pids.len() == 1 && pids[0] != second
    });
    echoes(&mut stays);
    heirs::signal(first, Signal::TERM);
    wait::until("it drains", || proxy.log().contains("draining"));
    echoes(&mut stays);
    drop(stays);
    assert!(proxy.wait().success(), "{}", proxy.whole_log());
}

/// What both processes log: connections that end in the old one, and those that end in the new one.
fn logs_are_reopened_while_connections_go_over(scheduler: Scheduler) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"10m\"\n";
    let routes = forward_with(&["builtin:echo"], listener, "")
        + &format!("\n[access_log]\npath = {log:?}\n");
    let Some((mut proxy, first)) = start(&configuration(scheduler, "", &routes)) else {
        return;
    };
    let heirs = Heirs::of(&proxy);
    // They say nothing, and hold the upgrade up.
    let silent: Vec<_> = (0..2).map(|_| proxy.connect("main")).collect();
    wait::until("they are there", || {
        let listener = [("listener", "main")];
        proxy.metric("corelane_listener_connections", &listener) == 2.0
    });
    upgrade(&proxy, first);
    assert_eq!(heirs.pids().len(), 2);
    let renamed = folder.path().join("access.log.1");
    fs::rename(&log, &renamed).expect("rename");
    heirs::signal(first, Signal::USR1);
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().count()
    };
    // Whoever comes is the new one's; it reopens the file soon.
    wait::until("the new process has reopened it", || {
        let mut client = proxy.connect("main");
        client.write_all(b"PROXY UNKNOWN\r\n").expect("write");
        echoes(&mut client);
        drop(client);
        lines(&log) > 0
    });
    let before = lines(&renamed);
    drop(silent);
    wait::until("the upgrade is over", || heirs.pids().len() == 1);
    // Nobody logs into the old file any more, neither process.
    assert_eq!(lines(&renamed), before);
    heirs::signal(first, Signal::TERM);
    assert!(proxy.wait().success(), "{}", proxy.whole_log());
}
