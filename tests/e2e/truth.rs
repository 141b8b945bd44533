//! Metrics say what happened: bytes and connections, against what the test made; what the kernel knows, against the
//! kernel.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::bytes::{MIB, receive, send};
use crate::harness::config::{forward, forward_with};
use crate::harness::peer::{self, Server, assert_closed_unanswered};
use crate::harness::process::{descriptors, resident_bytes, thread_cpus, thread_wait, threads};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upstream_failure::Blackhole;

each_scheduler!(
    bytes,
    bytes_while_open,
    connections,
    connections_by_core,
    upstream_connections,
    upstream_bytes,
    upstream_queue,
    upstream_queue_until_served,
    accept_drops,
    runqueue_wait,
    cpus,
    process
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
        let upstream = [("upstream", "main"), ("direction", direction)];
        wait::until(&format!("{bytes} bytes {direction} of the server"), || {
            proxy.metric("corelane_upstream_bytes_total", &upstream) == bytes
        });
        wait::until(&format!("{bytes} bytes {direction} over the cores"), || {
            proxy.metric("corelane_core_bytes_total", &[("direction", direction)]) == bytes
        });
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

/// Each server has its own, while connections run.
fn upstream_bytes(scheduler: Scheduler) {
    let echoes = [peer::echo(), peer::echo()];
    let servers = echoes.each_ref().map(|echo| echo.address().to_string());
    let proxy = Proxy::start(scheduler, &forward(&[&servers[0], &servers[1]]));
    let mut clients: Vec<_> = (0..20).map(|_| proxy.connect("main")).collect();
    for (index, client) in (1_usize..).zip(&mut clients) {
        // Each another size, so that no server has what the other one has.
        client.write_all(&vec![1; index * index]).expect("send");
        client
            .read_exact(&mut vec![0; index * index])
            .expect("receive");
    }
    let listed = |server: &str, key: &str| -> f64 {
        let body = proxy.get("/connections").body;
        let all: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let all = all["connections"].as_array().expect("a list");
        let of_server = all.iter().filter(|one| one["server"] == server);
        of_server.filter_map(|one| one[key].as_f64()).sum()
    };
    for server in &servers {
        for (direction, key) in [("in", "bytes_in"), ("out", "bytes_out")] {
            let labels = [("server", server.as_str()), ("direction", direction)];
            wait::until("the server's bytes are those of its connections", || {
                let counted = proxy.metric("corelane_upstream_bytes_total", &labels);
                counted > 0.0 && counted == listed(server, key)
            });
        }
    }
    let total: usize = (1..=20).map(|index| index * index).sum();
    wait::until("all bytes are counted", || {
        let sum = proxy.metric("corelane_upstream_bytes_total", &[("direction", "in")]);
        sum == total as f64
    });
}

/// Clients of a server that doesn't answer wait until their time is over.
fn upstream_queue(scheduler: Scheduler) {
    let silent = Blackhole::open();
    let config = forward_with(&[&silent.address], "", "connect_timeout = \"10s\"");
    let proxy = Proxy::start(scheduler, &config);
    let clients: Vec<_> = (0..12).map(|_| proxy.connect("main")).collect();
    queue(&proxy, 12.0);
    clients.into_iter().for_each(assert_closed_unanswered);
    queue(&proxy, 0.0);
}

fn queue(proxy: &Proxy, wanted: f64) {
    wait::until(&format!("{wanted} connections wait for a server"), || {
        proxy.metric("corelane_upstream_queue", &[("upstream", "main")]) == wanted
    });
}

/// Those that another server takes in the end wait no more.
fn upstream_queue_until_served(scheduler: Scheduler) {
    let (silent, echo) = (Blackhole::open(), peer::echo());
    let servers = [silent.address.as_str(), &echo.address().to_string()];
    let config = forward_with(&servers, "", "connect_timeout = \"2s\"");
    let proxy = Proxy::start(scheduler, &config);
    let mut clients: Vec<_> = (0..12).map(|_| proxy.connect("main")).collect();
    for client in &mut clients {
        client.write_all(b"?").expect("send");
        client.read_exact(&mut [0; 1]).expect("an answer");
    }
    queue(&proxy, 0.0);
    let open = [("upstream", "main")];
    assert_eq!(proxy.metric("corelane_upstream_connections", &open), 12.0);
}

/// A proxy that can't accept fills the queue; clients that the kernel then drops are counted.
fn accept_drops(scheduler: Scheduler) {
    let proxy = Proxy::start(
        scheduler,
        &forward_with(&["builtin:echo"], "backlog = 1", ""),
    );
    let drops = || proxy.metric("corelane_listener_accept_drops_total", &[MAIN]);
    let mut first = proxy.connect("main");
    first.write_all(b"?").expect("send");
    first.read_exact(&mut [0; 1]).expect("an answer");
    assert_eq!(drops(), 0.0);
    proxy.signal(Signal::STOP);
    let timeout = Duration::from_millis(100);
    let connect = |_| TcpStream::connect_timeout(&proxy.address("main"), timeout);
    let clients: Vec<_> = (0..64).map(connect).take_while(Result::is_ok).collect();
    proxy.signal(Signal::CONT);
    assert!(clients.len() < 64, "every client finds room in the queue");
    assert!(drops() >= 1.0);
}

/// A worker that nobody disturbs may never have waited, so each is woken until the kernel has seen it wait.
fn runqueue_wait(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let cores = proxy.metrics().series("corelane_core_info", &[]).count();
    let kernel = |core: usize| thread_wait(proxy.pid(), &format!("corelane-w{core}")).as_secs_f64();
    wait::until("the kernel has seen each worker wait", || {
        let mut clients: Vec<_> = (0..16).map(|_| proxy.connect("main")).collect();
        for client in &mut clients {
            client.write_all(&[1; 64]).expect("send");
        }
        for client in &mut clients {
            client.read_exact(&mut [0; 64]).expect("receive");
        }
        (0..cores).all(|core| kernel(core) > 0.0)
    });
    for core in 0..cores {
        let labels = [("core", &*core.to_string())];
        let before = kernel(core);
        let shown = proxy.metric("corelane_core_runqueue_wait_seconds_total", &labels);
        let within = before..=kernel(core);
        assert!(within.contains(&shown), "{shown}: {within:?}");
    }
}

/// `core_info` names the CPU that the kernel lets the worker run on.
fn cpus(scheduler: Scheduler) {
    let pinned = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let free = Proxy::start_with(scheduler, "pin = false\n", &forward(&["builtin:echo"]));
    for (proxy, is_pinned) in [(&pinned, true), (&free, false)] {
        let metrics = proxy.metrics();
        let cores = metrics.series("corelane_core_info", &[]).count();
        for core in 0..cores {
            let allowed = thread_cpus(proxy.pid(), &format!("corelane-w{core}"));
            let core = core.to_string();
            let cpu = if is_pinned { allowed.as_str() } else { "any" };
            let labels = [("core", core.as_str()), ("cpu", cpu)];
            assert_eq!(metrics.get("corelane_core_info", &labels), 1.0, "{allowed}");
        }
        let word = if is_pinned { "true" } else { "false" };
        assert_eq!(
            metrics.get("corelane_runtime_info", &[("pinned", word)]),
            1.0
        );
    }
}

fn process(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let clients: Vec<_> = (0..50).map(|_| proxy.connect("main")).collect();
    // Both sides of each connection, and the scrape's own connection.
    wait::until("as many descriptors as in /proc", || {
        let open = descriptors(proxy.pid()) as f64 + 1.0;
        open > 100.0 && proxy.metric("process_open_fds", &[]) == open
    });
    wait::until("as many threads as in /proc", || {
        proxy.metric("process_threads", &[]) == threads(proxy.pid()) as f64
    });
    let resident = resident_bytes(proxy.pid()) as f64;
    let shown = proxy.metric("process_resident_memory_bytes", &[]);
    assert!((shown / resident - 1.0).abs() < 0.2, "{shown}: {resident}");
    drop(clients);
}
