//! The cores' CPU time and imbalance, against the kernel's own accounts.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::config::forward;
use crate::harness::process::threads_cpu;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(cpu_seconds, one_connection);

/// The scheduler's threads are `corelane-w0`, `corelane-w1` and so on.
const WORKER_PREFIX: &str = "corelane-w";

/// Clients of the even load.
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
    ping_pong(&proxy, CLIENTS, || {
        thread::sleep(Duration::from_secs(4));
    });
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

/// One connection keeps one core busy, unless it is stolen; when it stops, every core is idle.
fn one_connection(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let cores = proxy.metrics().series("corelane_core_info", &[]).count() as f64;
    let lambda_min = match scheduler {
        Scheduler::Glommio | Scheduler::PerCore => 0.9 * (cores - 1.0),
        Scheduler::WorkStealing => 0.0,
    };
    ping_pong(&proxy, 1, || {
        wait::until("the gauges tell of the load", || {
            let metrics = proxy.metrics();
            let figure = |name: &str| metrics.get(&format!("corelane_core_{name}_ratio"), &[]);
            let (lambda, stranded, fairness) =
                (figure("imbalance"), figure("stranded"), figure("fairness"));
            assert!((0.0..=cores - 1.0).contains(&lambda), "λ {lambda}");
            assert!((0.0..=1.0).contains(&stranded), "stranded {stranded}");
            assert!(
                (1.0 / cores..=1.0).contains(&fairness),
                "fairness {fairness}"
            );
            // With n cores of which one does nearly all: Jain's index is hardly above 1/n.
            let even = lambda_min > 0.0 && fairness > 1.2 / cores;
            figure("utilization") > 0.02 && lambda >= lambda_min && !even
        });
    });
    wait::until("the gauges tell of no load", || {
        proxy.metric("corelane_core_utilization_ratio", &[]) == 0.0
    });
}

/// Small messages to and fro on so many connections, until `watch` returns.
fn ping_pong(proxy: &Proxy, clients: usize, watch: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The load ends also when `watch` panics.
        let _end = wait::End(&over);
        for _ in 0..clients {
            let mut client = proxy.connect("main");
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    client.write_all(&[1; 64]).expect("send");
                    client.read_exact(&mut [0; 64]).expect("receive");
                }
            });
        }
        watch();
    });
}
