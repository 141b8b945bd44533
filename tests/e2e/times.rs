//! The times that end connections besides `idle_timeout`: each by itself, over a reload, and under another scheduler.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::config::forward_with;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, DEADLINE};

each_scheduler!(
    a_silent_client_ends_though_the_server_talks,
    a_silent_server_ends_though_the_client_talks,
    a_half_closed_connection_ends_though_bytes_come,
    a_lifetime_ends_in_a_pause,
    a_lifetime_without_a_pause_ends_by_a_reset,
    a_lifetime_ends_while_the_client_is_heard,
    connections_keep_the_times_that_they_began_with,
);

/// A proxy with these lines for its listener, and a connection of it, which began after this moment.
fn start(scheduler: Scheduler, lines: &str) -> (Proxy, TcpStream, TcpStream, Instant) {
    let server = Server::bind();
    let routes = forward_with(&[&server.address().to_string()], lines, "");
    let proxy = Proxy::start(scheduler, &routes);
    let begun = Instant::now();
    let client = proxy.connect("main");
    let upstream = server.accept();
    (proxy, client, upstream, begun)
}

fn expect_cause(proxy: &Proxy, cause: &str, count: f64) {
    let labels = [("listener", "main"), ("cause", cause)];
    wait::until("the cause is counted", || {
        proxy.metric("corelane_listener_ended_total", &labels) == count
    });
}

/// Sends a byte now and then until that fails, which is a reset; returns how long that took, since it has begun.
fn talk_until_reset(mut talker: &TcpStream, begun: Instant) -> Duration {
    let error = loop {
        assert!(begun.elapsed() < DEADLINE, "it goes on");
        if let Err(error) = talker.write_all(b"x") {
            break error;
        }
        thread::sleep(Duration::from_millis(50));
    };
    let is_reset = matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    );
    assert!(is_reset, "{error}");
    begun.elapsed()
}

fn a_silent_client_ends_though_the_server_talks(scheduler: Scheduler) {
    let (proxy, mut client, upstream, begun) = start(scheduler, "client_idle_timeout = \"1s\"");
    let lasted = talk_until_reset(&upstream, begun);
    assert!(lasted > Duration::from_millis(500), "after {lasted:?}");
    // It is not told that this was all.
    assert_eq!(peer::end_of(&mut client), Some(ErrorKind::ConnectionReset));
    expect_cause(&proxy, "client_idle_timeout", 1.0);
}

fn a_silent_server_ends_though_the_client_talks(scheduler: Scheduler) {
    let (proxy, client, mut upstream, begun) = start(scheduler, "server_idle_timeout = \"1s\"");
    let lasted = talk_until_reset(&client, begun);
    assert!(lasted > Duration::from_millis(500), "after {lasted:?}");
    assert_eq!(
        peer::end_of(&mut upstream),
        Some(ErrorKind::ConnectionReset)
    );
    expect_cause(&proxy, "server_idle_timeout", 1.0);
}

fn a_half_closed_connection_ends_though_bytes_come(scheduler: Scheduler) {
    let (proxy, mut client, mut upstream, begun) = start(
        scheduler,
        "half_closed_timeout = \"1s\"\nclient_idle_timeout = \"1s\"",
    );
    client.write_all(b"a request").expect("send");
    client.shutdown(Shutdown::Write).expect("the end");
    let mut request = Vec::new();
    upstream.read_to_end(&mut request).expect("the request");
    assert_eq!(request, b"a request");
    let lasted = talk_until_reset(&upstream, begun);
    assert!(lasted > Duration::from_millis(500), "after {lasted:?}");
    assert_eq!(peer::end_of(&mut client), Some(ErrorKind::ConnectionReset));
    expect_cause(&proxy, "half_closed_timeout", 1.0);
}

fn a_lifetime_ends_in_a_pause(scheduler: Scheduler) {
    let lines = "max_lifetime = \"1s\"\nlifetime_jitter = \"0%\"";
    let (proxy, mut client, mut upstream, begun) = start(scheduler, lines);
    client.write_all(b"hello").expect("send");
    upstream.read_exact(&mut [0; 5]).expect("receive");
    assert_eq!(peer::end_of(&mut client), None);
    assert!(begun.elapsed() > Duration::from_millis(500));
    assert_eq!(peer::end_of(&mut upstream), None);
    expect_cause(&proxy, "max_lifetime", 1.0);
}

fn a_lifetime_without_a_pause_ends_by_a_reset(scheduler: Scheduler) {
    let lines = "max_lifetime = \"500ms\"\nlifetime_jitter = \"0%\"";
    let (proxy, mut client, upstream, begun) = start(scheduler, lines);
    let reader = thread::spawn(move || peer::end_of(&mut client));
    let lasted = talk_until_reset(&upstream, begun);
    assert!(lasted > Duration::from_secs(4), "after {lasted:?}");
    let end = reader.join().expect("it reads");
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    expect_cause(&proxy, "max_lifetime", 1.0);
}

/// Over a reload with other times, and a switch to another scheduler.
fn connections_keep_the_times_that_they_began_with(scheduler: Scheduler) {
    let with = |line: &str| forward_with(&["builtin:echo"], line, "");
    let proxy = Proxy::start(scheduler, &with("max_lifetime = \"4s\""));
    let begun = Instant::now();
    let mut bounded = proxy.connect("main");
    let exchange = |client: &mut TcpStream| {
        client.write_all(b"x").expect("send");
        client.read_exact(&mut [0; 1]).expect("receive");
    };
    exchange(&mut bounded);
    let reload = |configuration: &str| {
        let at = || proxy.metric("corelane_config_last_reload_timestamp_seconds", &[]);
        let before = at();
        let file = proxy.directory().join("corelane.toml");
        std::fs::write(file, configuration).expect("write the configuration");
        proxy.signal(Signal::HUP);
        wait::until("it is reloaded", || at() > before);
    };
    reload(&proxy::configuration(scheduler, "", &with("")));
    let mut free = proxy.connect("main");
    exchange(&mut free);
    let mut others = Scheduler::ALL.into_iter().filter(|&to| to != scheduler);
    if let Some(to) = others.find(|to| to.usable()) {
        reload(&proxy::configuration(to, "", &with("")));
    }
    assert_eq!(peer::end_of(&mut bounded), None);
    assert!(begun.elapsed() > Duration::from_secs(3));
    expect_cause(&proxy, "max_lifetime", 1.0);
    exchange(&mut free);
}

/// It runs from the accept, and nobody keeps a place by half of a header.
fn a_lifetime_ends_while_the_client_is_heard(scheduler: Scheduler) {
    let lines = "accept_proxy_protocol = true\nprologue_timeout = \"1h\"\nmax_lifetime = \"300ms\"";
    let proxy = Proxy::start(scheduler, &forward_with(&["builtin:echo"], lines, ""));
    let mut client = proxy.connect("main");
    client.write_all(b"PROXY TCP4 ").expect("send");
    assert_eq!(peer::end_of(&mut client), Some(ErrorKind::ConnectionReset));
    expect_cause(&proxy, "max_lifetime", 1.0);
    proxy.stop();
}
