//! A worker that dies takes its own connections and nothing else, and another one takes its place.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::harness::change;
use crate::harness::config::{forward, forward_with, route};
use crate::harness::doom;
use crate::harness::peer;
use crate::harness::proxy::{Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_worker_that_dies_takes_its_own_connections_alone,
    a_worker_that_dies_again_and_again_ends_the_process,
    an_only_worker_that_dies_is_replaced,
    health_is_good_while_a_worker_is_replaced_and_says_so,
);

/// As many as the listener takes: enough for each worker to have some.
const CLIENTS: usize = 24;

/// Restarts that are allowed in a minute.
const RESTARTS_MAX: usize = 5;

fn restarts(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_worker_restarts_total", &[])
}

/// Waits until a worker was replaced so often. One that is told to die may wait for an event already: clients come, who are served
/// or reset.
fn await_restarts(proxy: &Proxy, count: usize) {
    wait::until("it is replaced", || {
        let _ = TcpStream::connect(proxy.address("main"));
        restarts(proxy) >= count as f64
    });
}

fn echoes(client: &mut TcpStream) -> std::io::Result<()> {
    client.write_all(b"!")?;
    client.read_exact(&mut [0])
}

fn start(scheduler: Scheduler, directory: &std::path::Path, listener: &str) -> Option<Proxy> {
    let command = doom::command(directory)?;
    let routes = forward_with(&["builtin:echo"], listener, "");
    let runtime = match scheduler {
        Scheduler::Glommio => "glommio.rebalance.enabled = false\n",
        Scheduler::WorkStealing | Scheduler::PerCore => "",
    };
    Some(Proxy::start_command(
        command,
        &configuration(scheduler, runtime, &routes),
    ))
}

/// Whose worker is this one, as `/connections` tells.
fn of_worker(proxy: &Proxy, client: &TcpStream, worker: usize) -> bool {
    let list = String::from_utf8(proxy.get("/connections").body).expect("UTF-8");
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let own = client.local_addr().expect("address").to_string();
    let connections = list["connections"].as_array().expect("a list");
    let found = connections.iter().find(|one| one["client"] == own.as_str());
    found.expect("it is listed")["core"] == worker
}

fn a_worker_that_dies_takes_its_own_connections_alone(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let limit = format!("max_connections = {CLIENTS}\nover_limit = \"reset\"\n");
    let Some(proxy) = start(scheduler, directory.path(), &limit) else {
        return;
    };
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    for client in &mut clients {
        echoes(client).expect("it is served");
    }
    let is_own = |client: &TcpStream| of_worker(&proxy, client, 0);
    let own: Vec<bool> = clients.iter().map(is_own).collect();
    doom::kill(&proxy, scheduler, 0);
    await_restarts(&proxy, 1);
    assert_eq!(proxy.get("/healthz").status, 200);
    assert_eq!(proxy.get("/readyz").status, 200);
    let mut lost = 0;
    let mut left = Vec::new();
    for (mut client, own) in clients.into_iter().zip(own) {
        match echoes(&mut client) {
            Ok(()) => left.push(client),
            Err(error) => {
                assert!(own && scheduler != Scheduler::WorkStealing, "{error}");
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                    "{error}"
                );
                lost += 1;
            }
        }
    }
    println!("{lost} of {CLIENTS} were lost");
    // What it had is given back, to the last place.
    wait::until("all places are taken again", || {
        let client = TcpStream::connect(proxy.address("main"));
        let served = client.and_then(|mut client| echoes(&mut client).map(|()| client));
        left.extend(served);
        left.len() == CLIENTS
    });
    let more = TcpStream::connect(proxy.address("main"));
    let more = more.and_then(|mut client| echoes(&mut client));
    assert!(more.is_err(), "all places are taken");
    let count = CLIENTS as f64;
    let metrics = proxy.metrics();
    for gauge in [
        "corelane_core_connections",
        "corelane_listener_connections",
        "corelane_upstream_connections",
    ] {
        assert_eq!(metrics.get(gauge, &[]), count, "{gauge}");
    }
    drop(left);
    wait::until("all is given back", || {
        let metrics = proxy.metrics();
        let gauges = [
            "corelane_core_connections",
            "corelane_listener_connections",
            "corelane_upstream_connections",
        ];
        gauges.iter().all(|gauge| metrics.get(gauge, &[]) == 0.0)
    });
    wait::until("all has moved", || proxy.get("/healthz").body == b"ok\n");
    assert_eq!(restarts(&proxy), 1.0);
    proxy.stop();
}

fn a_worker_that_dies_again_and_again_ends_the_process(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(mut proxy) = start(scheduler, directory.path(), "") else {
        return;
    };
    for count in 1..=RESTARTS_MAX {
        doom::kill(&proxy, scheduler, 0);
        await_restarts(&proxy, count);
        echoes(&mut proxy.connect("main")).expect("it is served");
        wait::until("the others have moved", || {
            proxy.get("/healthz").body == b"ok\n"
        });
    }
    let mut client = proxy.connect("main");
    echoes(&mut client).expect("it is served");
    doom::kill(&proxy, scheduler, 0);
    wait::until("it has ended", || {
        TcpStream::connect(proxy.address("main")).is_err()
    });
    let status = proxy.wait();
    let log = proxy.whole_log();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("corelane: worker "), "{log}");
    assert!(last.contains("died and were replaced"), "{log}");
    assert_eq!(peer::end_of(&mut client), Some(ErrorKind::ConnectionReset));
}

/// As any other. Under work stealing what relays outlives it, and only who is still heard is lost.
fn an_only_worker_that_dies_is_replaced(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let Some(command) = doom::command(directory.path()) else {
        return;
    };
    let listener = "accept_proxy_protocol = \"required\"\nprologue_timeout = \"10m\"\n";
    let routes = forward(&["builtin:echo"])
        + &route("heard", "127.0.0.1:0", &["builtin:echo"], listener, "");
    let proxy = Proxy::start_command(command, &change::text(scheduler, 1, "", &routes));
    let mut relayed = proxy.connect("main");
    echoes(&mut relayed).expect("it is served");
    for count in 1..=2 {
        let mut heard = proxy.connect("heard");
        wait::until("it is accepted", || {
            proxy.metric("corelane_listener_connections", &[("listener", "heard")]) == 1.0
        });
        doom::kill(&proxy, scheduler, 0);
        await_restarts(&proxy, count);
        wait::until("all has moved", || proxy.get("/healthz").body == b"ok\n");
        assert_eq!(peer::end_of(&mut heard), Some(ErrorKind::ConnectionReset));
        if scheduler != Scheduler::WorkStealing {
            assert_eq!(peer::end_of(&mut relayed), Some(ErrorKind::ConnectionReset));
            relayed = proxy.connect("main");
        }
        echoes(&mut relayed).expect("it is served");
        wait::until("nobody else is left", || {
            proxy.metric("corelane_core_connections", &[]) == 1.0
        });
    }
    assert_eq!(restarts(&proxy), 2.0);
    drop(relayed);
    proxy.stop();
}

/// Whoever asks is to keep the process, as its other workers have connections.
fn health_is_good_while_a_worker_is_replaced_and_says_so(scheduler: Scheduler) {
    let directory = tempfile::tempdir().expect("directory");
    let gate = directory.path().join("gate");
    let Some(command) = doom::command_with_gate(directory.path(), &gate) else {
        return;
    };
    let routes = forward(&["builtin:echo"]);
    let proxy = Proxy::start_command(command, &configuration(scheduler, "", &routes));
    assert_eq!(proxy.get("/healthz").body, b"ok\n");
    // Its successors can't be started before this is gone.
    fs::write(&gate, "").expect("room");
    doom::kill(&proxy, scheduler, 0);
    let is_told = |body: &[u8]| {
        let told = |worker| format!("ok, but worker {worker} died and is being replaced\n");
        match scheduler {
            Scheduler::WorkStealing => (0..2).any(|worker| body == told(worker).as_bytes()),
            Scheduler::Glommio | Scheduler::PerCore => body == told(0).as_bytes(),
        }
    };
    wait::until("it is told", || {
        let _ = TcpStream::connect(proxy.address("main"));
        let health = proxy.get("/healthz");
        assert_eq!(health.status, 200);
        assert!(health.body == b"ok\n" || is_told(&health.body));
        is_told(&health.body)
    });
    assert_eq!(restarts(&proxy), 0.0);
    assert_eq!(proxy.get("/readyz").status, 200);
    fs::remove_file(&gate).expect("it is there");
    wait::until("it is replaced", || {
        let health = proxy.get("/healthz");
        assert_eq!(health.status, 200);
        assert!(health.body == b"ok\n" || is_told(&health.body));
        health.body == b"ok\n"
    });
    assert_eq!(restarts(&proxy), 1.0);
    echoes(&mut proxy.connect("main")).expect("it is served");
    proxy.stop();
}
