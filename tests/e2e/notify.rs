//! What a service manager is told, by the protocol of systemd's: the test's own socket hears it.

use std::fs;
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::harness::config::forward;
use crate::harness::proxy::{self, Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, DEADLINE};

each_scheduler!(
    it_is_told_of_the_start_of_reloads_and_of_the_end,
    a_manager_that_is_gone_holds_nobody_up
);

/// The manager's end.
struct Manager(UnixDatagram);

impl Manager {
    /// The fields of the next message.
    fn hears(&self) -> Vec<(String, String)> {
        let mut bytes = [0; 4096];
        let count = self.0.recv(&mut bytes).expect("a message");
        let text = String::from_utf8(bytes[..count].to_vec()).expect("text");
        let fields = text
            .lines()
            .map(|line| line.split_once('=').expect("a field"));
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// It hears that the proxy serves.
    fn hears_ready(&self, connections: usize, scheduler: Scheduler) {
        let fields = self.hears();
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
}

fn it_is_told_of_the_start_of_reloads_and_of_the_end(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).expect("a socket"));
    manager.0.set_read_timeout(Some(DEADLINE)).expect("timeout");
    let mut command = proxy::command();
    command.env("NOTIFY_SOCKET", &path);
    let routes = forward(&["builtin:echo"]);
    let mut proxy = Proxy::start_command(command, &configuration(scheduler, "", &routes));
    manager.hears_ready(0, scheduler);
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
        let fields = manager.hears();
        assert_eq!(
            fields[0],
            ("RELOADING".to_owned(), "1".to_owned()),
            "{fields:?}"
        );
        let (name, at) = &fields[1];
        assert_eq!(name, "MONOTONIC_USEC");
        let at: i64 = at.parse().expect("a number");
        assert!((before..=microseconds()).contains(&at), "{at}");
        manager.hears_ready(1, scheduler);
    }
    drop(client);
    proxy.terminate();
    let fields = manager.hears();
    assert_eq!(
        fields[0],
        ("STOPPING".to_owned(), "1".to_owned()),
        "{fields:?}"
    );
    assert!(proxy.wait().success(), "{}", proxy.whole_log());
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
    assert!(
        proxy.log().contains("systemd isn't told"),
        "{}",
        proxy.log()
    );
    proxy.stop();
}
