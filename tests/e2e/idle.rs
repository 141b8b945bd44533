//! `idle_timeout` ends connections that say nothing, and only those.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

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
    let mut ended = 0.0;
    in_time(Duration::from_secs(2), |pauses| {
        let (mut talking, mut silent) = (proxy.connect("main"), proxy.connect("main"));
        let goes_on = (0..40).all(|_| {
            pauses.pause();
            let sent = talking.write_all(b"still here");
            sent.and_then(|()| talking.read_exact(&mut [0; 10])).is_ok()
        });
        assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
        // It ends too, once it falls silent.
        assert_eq!(talking.read(&mut [0; 1]).unwrap_or(0), 0);
        ended += 2.0;
        assert_ended_by_idle_timeout(&proxy, ended);
        goes_on
    });
}

/// A subscriber that only receives isn't idle.
fn one_way_traffic_keeps_alive(scheduler: Scheduler) {
    let server = Server::bind();
    let servers = [server.address().to_string()];
    let config = forward_with(&[&servers[0]], "idle_timeout = \"1500ms\"", "");
    let proxy = Proxy::start(scheduler, &config);
    in_time(Duration::from_millis(1500), |pauses| {
        let mut client = proxy.connect("main");
        let mut ticking = server.accept();
        let goes_on = (0..30_u8).all(|tick| {
            pauses.pause();
            let mut heard = [0; 1];
            let sent = ticking.write_all(&[tick]);
            sent.and_then(|()| client.read_exact(&mut heard)).is_ok() && heard == [tick]
        });
        drop(ticking);
        goes_on && client.read(&mut [0; 1]).is_ok_and(|count| count == 0)
    });
}

/// Short pauses of who is not idle, of which none may be as long as this.
struct Pauses {
    last: Instant,
    longest: Duration,
}

impl Pauses {
    fn pause(&mut self) {
        thread::sleep(Duration::from_millis(100));
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
    }
}

/// Passes when `goes_on` says so. Again, where it doesn't and the machine made a pause of it that is as long as the timeout.
fn in_time(timeout: Duration, mut goes_on: impl FnMut(&mut Pauses) -> bool) {
    let begun_at = Instant::now();
    loop {
        let mut pauses = Pauses {
            last: Instant::now(),
            longest: Duration::ZERO,
        };
        if goes_on(&mut pauses) {
            return;
        }
        let longest = pauses.longest.max(pauses.last.elapsed());
        // The proxy may have seen a longer one.
        assert!(longest > timeout / 2, "it ends after {longest:?}");
        assert!(begun_at.elapsed() < wait::DEADLINE, "never in time");
    }
}
