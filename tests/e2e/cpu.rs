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

each_scheduler!(cpu_seconds, busy_seconds, one_connection);

/// The scheduler's threads are `corelane-w0`, `corelane-w1` and so on.
const WORKER_PREFIX: &str = "corelane-w";

/// Clients of the even load.
const CLIENTS: usize = 8;

/// Bytes of a message that costs far more to pass on than to hear of.
const BUSY_BYTES: usize = 16 * 1024;

/// CPU time that the cores together are to have spent on the load.
const LOAD_SECONDS: f64 = 1.0;

/// A core that had less CPU time than this had hardly any of the load.
const CORE_SECONDS_MIN: f64 = 0.1;

/// Part of a core's CPU time that runs tasks, at least.
const BUSY_PART_MIN: f64 = 0.5;

/// How long cores are left alone.
const IDLE: Duration = Duration::from_secs(1);

fn cpu_seconds(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let read = || proxy.metric("corelane_core_cpu_seconds_total", &[]);
    let cpu_before = read();
    let kernel_before = threads_cpu(proxy.pid(), WORKER_PREFIX);
    let start = Instant::now();
    ping_pong(&proxy, CLIENTS, || {
        thread::sleep(Duration::from_secs(4));
    });
    let wall = start.elapsed().as_secs_f64();
    let cpu_after = read();
    let kernel = (threads_cpu(proxy.pid(), WORKER_PREFIX) - kernel_before).as_secs_f64();

    let cpu = cpu_after - cpu_before;
    assert!(kernel > 0.05, "no load: {kernel} s in {wall} s");
    assert!(
        (cpu - kernel).abs() <= 0.05 * kernel,
        "{cpu} s in the metric, {kernel} s in /proc"
    );
}

/// The scheduler's account of each core, by a load that leaves it little to do but to run tasks.
///
/// Busy time is wall time: a worker that has to leave its CPU in the middle of a task is busy all the while, and the CPU
/// clock stands still. So it is compared with the CPU clock from below, and with the wall clock from above. What is left
/// out of it is the CPU time of asking the kernel what is ready, and, under Glommio, of falling asleep only.
fn busy_seconds(scheduler: Scheduler) {
    let born = Instant::now();
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let before = times(&proxy);
    let growth = || -> Vec<_> {
        let pairs = before.iter().zip(times(&proxy));
        pairs
            .map(|(before, now)| (now.cpu - before.cpu, now.busy - before.busy))
            .collect()
    };
    exchange(&proxy, CLIENTS, &[1; BUSY_BYTES], || {
        wait::until("the load has had its CPU time", || {
            growth().iter().map(|(cpu, _)| cpu).sum::<f64>() >= LOAD_SECONDS
        });
    });
    // What a worker was at is counted once it is over.
    let idle = rest(&proxy);
    let alive = born.elapsed().as_secs_f64();
    for (core, (cpu, busy)) in growth().into_iter().enumerate() {
        let since_start = idle[core].busy;
        println!("core {core}: {cpu} s of CPU, {busy} s busy, {since_start} s in {alive} s");
        assert!(since_start <= alive, "{since_start} s busy in {alive} s");
        assert!(
            cpu < CORE_SECONDS_MIN || busy >= BUSY_PART_MIN * cpu,
            "{busy} s busy in {cpu} s of CPU"
        );
    }

    let mut client = proxy.connect("main");
    wait::until("a sleep is not counted when it ends", || {
        let before = rest(&proxy);
        thread::sleep(IDLE);
        client.write_all(&[1; 64]).expect("send");
        client.read_exact(&mut [0; 64]).expect("receive");
        let busy = |times: &[Times]| times.iter().map(|times| times.busy).sum::<f64>();
        let grown = || busy(&times(&proxy)) - busy(&before);
        wait::until("the message is counted", || grown() > 0.0);
        grown() < IDLE.as_secs_f64() / 2.0
    });
}

/// A core's own accounts, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    cpu: f64,
    busy: f64,
}

/// By core.
fn times(proxy: &Proxy) -> Vec<Times> {
    let metrics = proxy.metrics();
    let cores = metrics.series("corelane_core_info", &[]).count();
    let of = |core: usize| {
        let core = core.to_string();
        let read = |name| metrics.get(name, &[("core", &core)]);
        Times {
            cpu: read("corelane_core_cpu_seconds_total"),
            busy: read("corelane_core_busy_seconds_total"),
        }
    };
    (0..cores).map(of).collect()
}

/// Waits until the accounts of cores that have nothing to do stand still.
fn rest(proxy: &Proxy) -> Vec<Times> {
    let mut last = times(proxy);
    wait::until("the accounts of idle cores stand still", || {
        thread::sleep(IDLE);
        let before = std::mem::replace(&mut last, times(proxy));
        last == before
    });
    last
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
    exchange(proxy, clients, &[1; 64], watch);
}

/// The same with messages like this one.
fn exchange(proxy: &Proxy, clients: usize, message: &[u8], watch: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The load ends also when `watch` panics.
        let _end = wait::End(&over);
        for _ in 0..clients {
            let mut client = proxy.connect("main");
            let over = &over;
            scope.spawn(move || {
                let mut answer = vec![0; message.len()];
                while !over.load(Ordering::Relaxed) {
                    client.write_all(message).expect("send");
                    client.read_exact(&mut answer).expect("receive");
                }
            });
        }
        watch();
    });
}
