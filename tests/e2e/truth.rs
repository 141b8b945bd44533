//! Metrics say what happened: against what the test sent, and against the kernel's own accounts.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::bytes::{MIB, receive, send};
use crate::harness::config::forward;
use crate::harness::peer::{self, Server};
use crate::harness::process::threads_cpu;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    bytes,
    bytes_while_open,
    connections,
    connections_by_core,
    cpu_seconds,
    upstream_connections
);

const MAIN: (&str, &str) = ("listener", "main");

fn bytes(scheduler: Scheduler) {
    let server = Server::bind();
    let proxy = Proxy::start(scheduler, &forward(&[&server.address().to_string()]));
    let (client, upstream) = (proxy.connect("main"), server.accept());
    thread::scope(|scope| {
        scope.spawn(|| {
            send(&mut &client, 1, 5 * MIB + 17);
            client.shutdown(Shutdown::Write).expect("shutdown");
        });
        scope.spawn(|| {
            send(&mut &upstream, 2, 3 * MIB + 5);
            upstream.shutdown(Shutdown::Write).expect("shutdown");
        });
        scope.spawn(|| receive(&mut &upstream));
        receive(&mut &client);
    });
    assert_bytes(&proxy, (5 * MIB + 17) as f64, (3 * MIB + 5) as f64);
    wait::until("the end is counted", || {
        let cause = [MAIN, ("cause", "finished")];
        proxy.metric("corelane_listener_ended_total", &cause) == 1.0
    });
}

/// A session of a day must not be missing from the graphs for a day.
fn bytes_while_open(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let mut client = proxy.connect("main");
    for exchange in 1..=3 {
        client.write_all(&[1; 1000]).expect("send");
        client.read_exact(&mut [0; 1000]).expect("receive");
        assert_bytes(
            &proxy,
            f64::from(exchange) * 1000.0,
            f64::from(exchange) * 1000.0,
        );
    }
}

/// `inward` is from clients to servers. The sum over the cores is the same as the sum over the listeners.
fn assert_bytes(proxy: &Proxy, inward: f64, outward: f64) {
    for (direction, bytes) in [("in", inward), ("out", outward)] {
        let labels = [MAIN, ("direction", direction)];
        wait::until(&format!("{bytes} bytes {direction}"), || {
            proxy.metric("corelane_listener_bytes_total", &labels) == bytes
        });
        let by_core = proxy.metric("corelane_core_bytes_total", &[("direction", direction)]);
        assert_eq!(by_core, bytes, "bytes {direction} over the cores");
    }
}

fn connections(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let open = |wanted: f64| {
        wait::until(&format!("{wanted} open connections"), || {
            proxy.metric("corelane_listener_connections", &[MAIN]) == wanted
        });
    };
    let mut clients: Vec<_> = (0..60).map(|_| proxy.connect("main")).collect();
    open(60.0);
    clients.truncate(20);
    open(20.0);
    clients.clear();
    open(0.0);
    let metrics = proxy.metrics();
    assert_eq!(
        metrics.get("corelane_listener_connections_total", &[MAIN]),
        60.0
    );
    assert_eq!(metrics.get("corelane_listener_ended_total", &[MAIN]), 60.0);
    assert_eq!(
        metrics.get(
            "corelane_listener_connection_duration_seconds_count",
            &[MAIN]
        ),
        60.0
    );
}

fn connections_by_core(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let clients: Vec<_> = (0..60).map(|_| proxy.connect("main")).collect();
    wait::until("60 connections over the cores", || {
        proxy.metric("corelane_core_connections", &[]) == 60.0
    });
    let metrics = proxy.metrics();
    assert_eq!(metrics.get("corelane_core_accepts_total", &[]), 60.0);
    let cores = metrics.series("corelane_core_info", &[]).count();
    assert_eq!(
        metrics
            .series("corelane_core_cpu_seconds_total", &[])
            .count(),
        cores
    );
    assert!(cores >= 1, "no core");
    drop(clients);
}

fn upstream_connections(scheduler: Scheduler) {
    let echo = peer::echo();
    let proxy = Proxy::start(scheduler, &forward(&[&echo.address().to_string()]));
    let server = echo.address().to_string();
    let labels = [("upstream", "main"), ("server", server.as_str())];
    let clients: Vec<_> = (0..10).map(|_| proxy.connect("main")).collect();
    let count = |wanted: f64| {
        wait::until(&format!("{wanted} connections to the server"), || {
            proxy.metric("corelane_upstream_connections", &labels) == wanted
        });
    };
    count(10.0);
    drop(clients);
    count(0.0);
    assert_eq!(
        proxy.metric(
            "corelane_upstream_connect_seconds_count",
            &[("upstream", "main")]
        ),
        10.0
    );
}

/// The scheduler's threads are `corelane-w0`, `corelane-w1` and so on.
const WORKER_PREFIX: &str = "corelane-w";

/// Clients of the load.
const CLIENTS: usize = 8;

fn cpu_seconds(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let read = || {
        let metrics = proxy.metrics();
        let busy = metrics.get("corelane_core_busy_seconds_total", &[]);
        (metrics.get("corelane_core_cpu_seconds_total", &[]), busy)
    };
    let (cpu_before, busy_before) = read();
    let kernel_before = threads_cpu(proxy.pid(), WORKER_PREFIX);
    let start = Instant::now();
    ping_pong(&proxy, Duration::from_secs(4));
    let wall = start.elapsed().as_secs_f64();
    let (cpu_after, busy_after) = read();
    let kernel = (threads_cpu(proxy.pid(), WORKER_PREFIX) - kernel_before).as_secs_f64();

    let cpu = cpu_after - cpu_before;
    assert!(kernel > 0.05, "no load: {kernel} s in {wall} s");
    assert!(
        (cpu - kernel).abs() <= 0.05 * kernel,
        "{cpu} s in the metric, {kernel} s in /proc"
    );
    let busy = busy_after - busy_before;
    let cores = proxy.metrics().series("corelane_core_info", &[]).count() as f64;
    assert!(
        busy > 0.0 && busy <= wall * cores * 1.05,
        "{busy} s busy in {wall} s on {cores} cores"
    );
}

/// Small messages to and fro on all cores.
fn ping_pong(proxy: &Proxy, duration: Duration) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut client = proxy.connect("main");
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    client.write_all(&[1; 64]).expect("send");
                    client.read_exact(&mut [0; 64]).expect("receive");
                }
            });
        }
        thread::sleep(duration);
        over.store(true, Ordering::Relaxed);
    });
}
