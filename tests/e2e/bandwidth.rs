//! `bandwidth` and `bandwidth_per_connection`: bytes are paced and none is lost. Times are asserted in one way only: nothing
//! arrives sooner than the rate allows.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::bytes::{self, MIB};
use crate::harness::config::{forward_with, route};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    bulk_is_paced_both_ways_and_arrives_whole,
    small_messages_are_paced,
    connections_share_the_listener_s_bandwidth,
    others_are_not_held_up,
    a_reload_changes_it_for_open_connections,
    pacing_is_no_busy_loop,
    a_switch_keeps_the_pace,
);

/// What may arrive before its time: a burst, and a quantum for each worker and for what is on its way.
fn slack(rate: u64) -> u64 {
    rate / 10 + 4 * (rate / 100).clamp(1024, 256 * 1024)
}

fn limited(listener: &str) -> String {
    forward_with(&["builtin:echo"], listener, "")
}

/// A stream of which never more has been read than a rate allows since a moment.
struct Paced<'a> {
    stream: &'a TcpStream,
    begin: Instant,
    rate: u64,
    received: u64,
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.received += count as u64;
        // Later than it arrived.
        let flown = (self.begin.elapsed().as_secs_f64() * self.rate as f64) as u64;
        let most = flown + slack(self.rate);
        assert!(self.received <= most, "{} of {most}", self.received);
        Ok(count)
    }
}

/// Sends bytes of this seed and has them come back.
fn round_trip(client: &TcpStream, rate: u64, seed: u64, len: u64) {
    let begin = Instant::now();
    thread::scope(|scope| {
        let sent = scope.spawn(move || {
            let digest = bytes::send(&mut &*client, seed, len);
            client.shutdown(Shutdown::Write).expect("shutdown");
            digest
        });
        let mut paced = Paced {
            stream: client,
            begin,
            rate,
            received: 0,
        };
        let received = bytes::receive(&mut paced);
        assert_eq!(received, sent.join().expect("the sender"));
    });
}

fn bulk_is_paced_both_ways_and_arrives_whole(scheduler: Scheduler) {
    const RATE: u64 = 16 * MIB;
    for key in ["bandwidth", "bandwidth_per_connection"] {
        let proxy = Proxy::start(scheduler, &limited(&format!("{key} = \"16MiB\"")));
        round_trip(&proxy.connect("main"), RATE, 1, 12 * MIB);
        let labels = [("listener", "main")];
        let spliced = proxy.metric("corelane_listener_spliced_bytes_total", &labels);
        assert!(
            spliced > 0.0,
            "{key}: bulk goes through a pipe all the same"
        );
        proxy.stop();
    }
}

fn small_messages_are_paced(scheduler: Scheduler) {
    const RATE: u64 = 20 * 1024;
    const MESSAGE: usize = 100;
    for key in ["bandwidth", "bandwidth_per_connection"] {
        let proxy = Proxy::start(scheduler, &limited(&format!("{key} = \"20KiB\"")));
        let mut client = proxy.connect("main");
        let begin = Instant::now();
        let mut received = 0;
        for number in 0..200_u64 {
            let message = bytes::pattern(number, MESSAGE);
            client.write_all(&message).expect("send");
            let mut answer = [0; MESSAGE];
            client.read_exact(&mut answer).expect("receive");
            assert_eq!(answer[..], message);
            received += MESSAGE as u64;
            let flown = (begin.elapsed().as_secs_f64() * RATE as f64) as u64;
            assert!(received <= flown + slack(RATE), "{key}: {received}");
        }
        drop(client);
        proxy.stop();
    }
}

fn connections_share_the_listener_s_bandwidth(scheduler: Scheduler) {
    const RATE: u64 = 8 * MIB;
    const CONNECTIONS: u64 = 8;
    let proxy = Proxy::start(scheduler, &limited("bandwidth = \"8MiB\""));
    let begin = Instant::now();
    thread::scope(|scope| {
        for seed in 0..CONNECTIONS {
            let client = proxy.connect("main");
            scope.spawn(move || round_trip(&client, RATE, seed, MIB));
        }
    });
    // All of them together, on whichever workers.
    let least = (CONNECTIONS * MIB - slack(RATE)) as f64 / RATE as f64;
    assert!(begin.elapsed().as_secs_f64() >= least);
    proxy.stop();
}

/// Those of another listener, on the same workers; and those of the same one, which have their turns.
fn others_are_not_held_up(scheduler: Scheduler) {
    let any = "127.0.0.1:0";
    let routes = limited("bandwidth_per_connection = \"1KiB\"")
        + &route("free", any, &["builtin:echo"], "", "");
    let proxy = Proxy::start(scheduler, &routes);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let slow: Vec<_> = (0..4).map(|_| proxy.connect("main")).collect();
        for mut client in slow {
            let over = &over;
            scope.spawn(move || {
                let timeout = Some(Duration::from_millis(100));
                client.set_write_timeout(timeout).expect("a timeout");
                while !over.load(Ordering::Relaxed) {
                    // It is stuck most of the time.
                    let _ = client.write(&[7; 65_536]);
                }
            });
        }
        let _end = wait::End(&over);
        let mut free = proxy.connect("free");
        for number in 0..500_u64 {
            let message = bytes::pattern(number, 1000);
            free.write_all(&message).expect("send");
            let mut answer = [0; 1000];
            free.read_exact(&mut answer).expect("receive");
            assert_eq!(answer[..], message);
        }
        // A burst is as much as fits into a message.
        let mut same = proxy.connect("main");
        same.write_all(b"?").expect("send");
        same.read_exact(&mut [0; 1]).expect("receive");
    });
    let cut = proxy.metric(
        "corelane_listener_ended_total",
        &[("cause", "idle_timeout")],
    );
    assert_eq!(cut, 0.0);
}

fn a_reload_changes_it_for_open_connections(scheduler: Scheduler) {
    let text = |limits: &str| proxy::configuration(scheduler, "", &limited(limits));
    // This would take an hour.
    let slow = "bandwidth = \"1KiB\"\nbandwidth_per_connection = \"1KiB\"";
    let proxy = Proxy::start_file(&text(slow));
    let clients: Vec<_> = (0..4).map(|_| proxy.connect("main")).collect();
    thread::scope(|scope| {
        for (seed, client) in (0..).zip(&clients) {
            scope.spawn(move || round_trip(client, u64::MAX >> 16, seed, MIB));
        }
        // Else a failure would be told in an hour.
        let _cut = CutAfterPanic(&clients);
        let bytes = || proxy.metric("corelane_listener_bytes_total", &[("listener", "main")]);
        wait::until("bytes flow", || bytes() > 2000.0);
        assert!(bytes() < MIB as f64);
        let file = proxy.directory().join("corelane.toml");
        std::fs::write(&file, text("bandwidth = \"64MiB\"")).expect("write");
        proxy.signal(Signal::HUP);
        wait::until("all of them flow", || bytes() == 8.0 * MIB as f64);
    });
    proxy.stop();
}

/// Ends what these wait for, if the test has failed.
struct CutAfterPanic<'a>(&'a [TcpStream]);

impl Drop for CutAfterPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for client in self.0 {
                let _ = client.shutdown(Shutdown::Both);
            }
        }
    }
}

fn pacing_is_no_busy_loop(scheduler: Scheduler) {
    const RATE: u64 = 64 * 1024;
    let proxy = Proxy::start(scheduler, &limited("bandwidth = \"64KiB\""));
    let client = proxy.connect("main");
    let polls = || proxy.metric("corelane_core_polls_total", &[]);
    let before = polls();
    round_trip(&client, RATE, 1, 2 * RATE);
    let polls = polls() - before;
    // Each way 128 quanta, of which each has a turn, a wait, and what its neighbours make ready.
    assert!(polls < 128.0 * 2.0 * 8.0, "{polls}");
    proxy.stop();
}

fn a_switch_keeps_the_pace(scheduler: Scheduler) {
    const RATE: u64 = 2 * MIB;
    let other = match scheduler {
        Scheduler::WorkStealing => Scheduler::PerCore,
        _ => Scheduler::WorkStealing,
    };
    for key in ["bandwidth", "bandwidth_per_connection"] {
        let limits = limited(&format!("{key} = \"2MiB\""));
        let proxy = Proxy::start(scheduler, &limits);
        let (begin, over) = (Instant::now(), AtomicBool::new(false));
        let bytes = || proxy.metric("corelane_listener_bytes_total", &[("direction", "out")]);
        thread::scope(|scope| {
            // It compares what comes back.
            let _end = wait::End(&over);
            scope.spawn(|| crate::switch::stream(proxy.address("main"), 1, &over));
            wait::until("bytes flow", || bytes() > MIB as f64 / 2.0);
            let text = proxy::configuration(other, "", &limits);
            std::fs::write(proxy.directory().join("corelane.toml"), text).expect("write");
            proxy.signal(Signal::HUP);
            wait::until("it has moved", || {
                proxy.metric("corelane_runtime_moved_connections_total", &[]) == 1.0
            });
            let moved = bytes();
            wait::until("bytes flow", || bytes() > moved + MIB as f64);
            let flown = bytes();
            let most = begin.elapsed().as_secs_f64() * RATE as f64 + 2.0 * slack(RATE) as f64;
            assert!(flown <= most, "{flown} of {most}");
        });
        proxy.stop();
    }
}
