//! The cores' CPU time and imbalance, against the kernel's own accounts.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::config::forward;
use crate::harness::process::threads_cpu;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(cpu_seconds);

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
