//! What a service manager is told, by the protocol of systemd's: the test's own socket hears it.

use std::fs;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::harness::config::{forward, forward_with};
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::unit::Manager;
use crate::harness::wait;

each_scheduler!(
    it_is_told_of_the_start_of_reloads_and_of_the_end,
    it_is_told_of_reloads_while_a_switch_runs,
    a_manager_that_is_gone_holds_nobody_up
);

/// It hears that the configuration is read again.
fn hears_reloading(manager: &Manager) -> i64 {
    let fields = manager.hears();
    let reloading = ("RELOADING".to_owned(), "1".to_owned());
    assert_eq!(fields[0], reloading, "{fields:?}");
    let (name, at) = &fields[1];
    assert_eq!(name, "MONOTONIC_USEC");
    at.parse().expect("a number")
}

/// It hears that the proxy serves.
fn hears_ready(manager: &Manager, connections: usize, scheduler: Scheduler) {
    let fields = manager.hears();
    assert_eq!(
        fields[0],
        ("READY".to_owned(), "1".to_owned()),
        "{fields:?}"
    );
    let (name, status) = &fields[1];
    assert_eq!(name, "STATUS");
    let start = format!("{connections} connections on ");
    assert!(status.starts_with(&start), "{status}");
    let end = format!(" cores under {}", scheduler.name());
    assert!(status.ends_with(&end), "{status}");
}

fn it_is_told_of_the_start_of_reloads_and_of_the_end(scheduler: Scheduler) {
    let routes = forward(&["builtin:echo"]);
    let (mut proxy, manager) = start(scheduler, &routes);
    let client = proxy.connect("main");
    wait::until("it is there", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 1.0
    });
    // One that is taken, and one that is refused.
    let file = proxy.directory().join("corelane.toml");
    let refused = configuration(scheduler, "no_such_key = 1\n", &routes);
    let taken = configuration(scheduler, "drain_timeout = \"9s\"\n", &routes);
    for text in [taken, refused] {
        fs::write(&file, text).expect("write");
        let before = microseconds();
        proxy.signal(Signal::HUP);
        let at = hears_reloading(&manager);
        assert!((before..=microseconds()).contains(&at), "{at}");
        hears_ready(&manager, 1, scheduler);
    }
    drop(client);
    proxy.terminate();
    let fields = manager.hears();
    assert_eq!(
        fields[0],
        ("STOPPING".to_owned(), "1".to_owned()),
        "{fields:?}"
    );
    let (name, time) = &fields[2];
    assert_eq!(name, "EXTEND_TIMEOUT_USEC");
    // The drain may take 9 seconds.
    let time: u64 = time.parse().expect("a number");
    assert!((9_000_000..30_000_000).contains(&time), "{time}");
    assert!(proxy.wait().success(), "{}", proxy.whole_log());
}

fn it_is_told_of_reloads_while_a_switch_runs(scheduler: Scheduler) {
    let listener = "accept_proxy_protocol = true\nprologue_timeout = \"10m\"\n";
    let routes = forward_with(&["builtin:echo"], listener, "");
    let (proxy, manager) = start(scheduler, &routes);
    // It says nothing, and holds the switch up.
    let silent = proxy.connect("main");
    wait::until("it is there", || {
        proxy.metric("corelane_listener_connections", &[("listener", "main")]) == 1.0
    });
    let other = Scheduler::ALL.into_iter().find(|other| *other != scheduler);
    let other = other.filter(|other| other.usable()).unwrap_or(scheduler);
    let file = proxy.directory().join("corelane.toml");
    for runtime in ["", "drain_timeout = \"29s\"\n"] {
        fs::write(&file, configuration(other, runtime, &routes)).expect("write");
        proxy.signal(Signal::HUP);
        hears_reloading(&manager);
        hears_ready(&manager, 1, other);
    }
    drop(silent);
    proxy.stop();
}

/// A proxy without connections, and who is told of it.
fn start(scheduler: Scheduler, routes: &str) -> (Proxy, Manager) {
    let manager = Manager::start();
    let mut command = proxy::command();
    manager.is_told_by(&mut command);
    let proxy = Proxy::start_command(command, &configuration(scheduler, "", routes));
    hears_ready(&manager, 0, scheduler);
    (proxy, manager)
}

fn microseconds() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

fn a_manager_that_is_gone_holds_nobody_up(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let mut command = proxy::command();
    command.env("NOTIFY_SOCKET", directory.path().join("gone"));
    let routes = forward(&["builtin:echo"]);
    let proxy = Proxy::start_command(command, &configuration(scheduler, "", &routes));
    proxy.reload(scheduler, &routes);
    wait::until("it reloads", || {
        proxy.log().contains("reloaded the configuration")
    });
    proxy.logs("systemd isn't told");
    proxy.stop();
}
