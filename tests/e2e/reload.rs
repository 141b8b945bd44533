//! SIGHUP: what changes at once, and what is refused, with what ran going on.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::harness::config::route;
use crate::harness::metrics::{Metrics, Totals};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(shares_change, refusals_change_nothing, counters_only_grow);

/// Clients at a time.
const CLIENTS: usize = 4;

/// How often each of their connections sends.
const EXCHANGES: usize = 50;

fn configuration(shares: &str) -> String {
    route("main", "127.0.0.1:0", &["builtin:echo"], shares, "")
}

fn reloads(proxy: &Proxy) -> (f64, f64) {
    let metrics = proxy.metrics();
    let get = |name| metrics.get(name, &[]);
    (
        get("corelane_config_last_reload_success"),
        get("corelane_config_last_reload_timestamp_seconds"),
    )
}

fn echoes(mut stream: &std::net::TcpStream) {
    stream.write_all(b"still here").expect("send");
    stream.read_exact(&mut [0; 10]).expect("receive");
}

fn shares_change(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &configuration("shares = 900"));
    let client = proxy.connect("main");
    echoes(&client);
    let before = reloads(&proxy);
    proxy.reload(scheduler, &configuration("shares = 90"));
    wait::until("it is reloaded", || reloads(&proxy).1 > before.1);
    assert_eq!(reloads(&proxy).0, 1.0);
    if scheduler == Scheduler::Glommio {
        let shares = [("listener", "main")];
        let metrics = proxy.metrics();
        assert_eq!(
            metrics.get("corelane_glommio_task_queue_shares", &shares),
            90.0
        );
    }
    echoes(&client);
    drop(client);
    proxy.stop();
}

fn refusals_change_nothing(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &configuration("shares = 900"));
    let client = proxy.connect("main");
    for refused in ["shares = 0", "max_connections = 0", "nonsense = 1"] {
        proxy.reload(scheduler, &configuration(refused));
        wait::until("it is refused", || reloads(&proxy).0 == 0.0);
        echoes(&client);
        // The next refusal is to be seen as one.
        proxy.reload(scheduler, &configuration("shares = 900"));
        wait::until("it is reloaded", || reloads(&proxy).0 == 1.0);
    }
    drop(client);
    proxy.logs("the configuration is not reloaded, what ran goes on");
    proxy.stop();
}

/// Whatever becomes of a reload, under traffic, nothing that was counted is forgotten.
fn counters_only_grow(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &configuration("shares = 900"));
    let opened = come_and_go(&proxy, || {
        let mut last = proxy.metrics();
        let mut totals = Totals::default();
        totals.grow(&last);
        assert!(totals.series() > 50, "{} series", totals.series());
        for (line, is_accepted) in [
            ("shares = 90", true),
            ("shares = 0", false),
            ("shares = 1000", true),
            ("nonsense = 1", false),
        ] {
            let at = reloads(&proxy).1;
            proxy.reload(scheduler, &configuration(line));
            wait::until(&format!("{line} is read"), || {
                let (succeeded, now) = reloads(&proxy);
                if is_accepted {
                    now > at
                } else {
                    succeeded == 0.0
                }
            });
            wait::until("another connection has ended since", || {
                let ended = |metrics: &Metrics| metrics.get("corelane_listener_ended_total", &[]);
                let now = proxy.metrics();
                totals.grow(&now);
                let more = ended(&now) > ended(&last);
                last = now;
                more
            });
        }
    });
    let connections = || proxy.metric("corelane_listener_connections_total", &[]);
    assert_eq!(connections(), opened as f64);
    wait::until("every end is counted", || {
        proxy.metric("corelane_listener_ended_total", &[]) == opened as f64
    });
    let bytes = proxy.metric("corelane_core_bytes_total", &[("direction", "in")]);
    assert_eq!(bytes, opened as f64 * (EXCHANGES * 10) as f64);
    proxy.stop();
}

/// Connections that come, exchange and go, until `watch` returns; how many they were.
fn come_and_go(proxy: &Proxy, watch: impl FnOnce()) -> u64 {
    let (over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        // The traffic ends also when `watch` panics.
        let _end = wait::End(&over);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let client = proxy.connect("main");
                    opened.fetch_add(1, Ordering::Relaxed);
                    (0..EXCHANGES).for_each(|_| echoes(&client));
                }
            });
        }
        watch();
    });
    opened.into_inner()
}
