//! `idle_timeout` ends connections that say nothing, and only those.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::harness::config::forward_with;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    silent_client,
    traffic_keeps_alive,
    one_way_traffic_keeps_alive
);

fn assert_ended_by_idle_timeout(proxy: &Proxy, count: f64) {
    let labels = [("listener", "main"), ("cause", "idle_timeout")];
    wait::until("the cause is counted", || {
        proxy.metric("corelane_listener_ended_total", &labels) == count
    });
}

fn silent_client(scheduler: Scheduler) {
    let server = Server::bind();
    let servers = [server.address().to_string()];
    let config = forward_with(&[&servers[0]], "idle_timeout = \"300ms\"", "");
    let proxy = Proxy::start(scheduler, &config);
    let mut clients: Vec<_> = (0..10).map(|_| proxy.connect("main")).collect();
    let mut upstreams: Vec<_> = clients.iter().map(|_| server.accept()).collect();
    // Whether by a reset or an orderly end, both sides are told.
    for stream in clients.iter_mut().chain(&mut upstreams) {
        let end = peer::end_of(stream);
        assert!(
            matches!(end, None | Some(std::io::ErrorKind::ConnectionReset)),
            "{end:?}"
        );
    }
    assert_ended_by_idle_timeout(&proxy, 10.0);
}

fn traffic_keeps_alive(scheduler: Scheduler) {
    let echo = peer::echo();
    let servers = [echo.address().to_string()];
    let config = forward_with(&[&servers[0]], "idle_timeout = \"2s\"", "");
    let proxy = Proxy::start(scheduler, &config);
    let (mut talking, mut silent) = (proxy.connect("main"), proxy.connect("main"));
    for _ in 0..40 {
        thread::sleep(Duration::from_millis(100));
        talking.write_all(b"still here").expect("send");
        talking.read_exact(&mut [0; 10]).expect("receive");
    }
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_ended_by_idle_timeout(&proxy, 1.0);
    // It ends too, once it falls silent.
    assert_eq!(talking.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_ended_by_idle_timeout(&proxy, 2.0);
}

/// A subscriber that only receives isn't idle.
fn one_way_traffic_keeps_alive(scheduler: Scheduler) {
    let ticking = Server::bind().serve(|mut stream| {
        for tick in 0..30_u8 {
            thread::sleep(Duration::from_millis(100));
            if stream.write_all(&[tick]).is_err() {
                return;
            }
        }
    });
    let servers = [ticking.address().to_string()];
    let config = forward_with(&[&servers[0]], "idle_timeout = \"1500ms\"", "");
    let proxy = Proxy::start(scheduler, &config);
    let mut received = Vec::new();
    proxy
        .connect("main")
        .read_to_end(&mut received)
        .expect("receive");
    assert_eq!(received, (0..30).collect::<Vec<u8>>());
}
