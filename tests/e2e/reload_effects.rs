//! SIGHUP: what changes is seen in what becomes of connections, and not only in what is shown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::bytes::{self, MIB};
use crate::harness::change::{self, reload};
use crate::harness::config::{forward_with, route};
use crate::harness::metrics::Metrics;
use crate::harness::peer::{self, Full, Server, Service};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    weights_change_who_gets_connections,
    a_way_of_balancing_changes_who_gets_connections,
    splice_begins_and_ends_with_new_connections,
    latency_shortens_the_turns_of_connections_that_run,
    a_connect_gives_up_after_the_timeout_that_it_began_with,
    checks_come_as_often_as_is_asked_for,
    a_limit_of_the_process_changes_and_its_workers_stay,
);

/// A file of the scheduler's.
fn file(scheduler: Scheduler, routes: &str) -> String {
    change::text(scheduler, 2, "", routes)
}

/// Connections that are counted, and by how many a count may be off: each worker takes its own turns.
const CONNECTIONS: usize = 80;
const OFF: usize = 8;

/// A server that says its name and then waits for the client to go.
fn named(name: u8) -> Service {
    Server::bind().serve(move |mut stream| {
        let _ = stream.write_all(&[name]);
        let _ = stream.read(&mut [0; 1]);
    })
}

fn name_of(mut client: &TcpStream) -> u8 {
    let mut name = [0; 1];
    client.read_exact(&mut name).expect("the server's name");
    name[0]
}

/// How many connections, one after the other, go to the server called 0.
fn share(proxy: &Proxy) -> usize {
    let clients = (0..CONNECTIONS).map(|_| proxy.connect("main"));
    clients.filter(|client| name_of(client) == 0).count()
}

fn weighted(servers: &[Service; 2], weights: [u32; 2], more: &str) -> String {
    let [first, second] = servers.each_ref().map(Service::address);
    format!(
        "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n[upstreams.main]\n\
         servers = [{{ address = \"{first}\", weight = {} }}, {{ address = \"{second}\", weight = {} }}]\n{more}",
        weights[0], weights[1]
    )
}

fn weights_change_who_gets_connections(scheduler: Scheduler) {
    let servers = [named(0), named(1)];
    let text = |weights| {
        let turns = "balance = \"round-robin\"\n";
        file(scheduler, &weighted(&servers, weights, turns))
    };
    let proxy = Proxy::start_file(&text([1, 1]));
    assert!(share(&proxy).abs_diff(CONNECTIONS / 2) <= OFF);
    for (weights, wanted) in [
        ([3, 1], CONNECTIONS * 3 / 4),
        ([1, 7], CONNECTIONS / 8),
        ([5, 5], CONNECTIONS / 2),
    ] {
        reload(&proxy, &text(weights));
        let share = share(&proxy);
        assert!(share.abs_diff(wanted) <= OFF, "{weights:?}: {share}");
    }
    proxy.stop();
}

/// The first server has connections that stay: the second one gets all others until it has as many.
fn a_way_of_balancing_changes_who_gets_connections(scheduler: Scheduler) {
    let servers = [named(0), named(1)];
    let text = |weights, balance: &str| {
        let balance = format!("balance = \"{balance}\"\n");
        file(scheduler, &weighted(&servers, weights, &balance))
    };
    let proxy = Proxy::start_file(&text([256, 1], "round-robin"));
    let stay = (0..CONNECTIONS).map(|_| proxy.connect("main"));
    let stay: Vec<_> = stay
        .inspect(|client| assert!(name_of(client) < 2))
        .collect();
    reload(&proxy, &text([1, 1], "round-robin"));
    assert!(share(&proxy).abs_diff(CONNECTIONS / 2) <= OFF);
    reload(&proxy, &text([1, 1], "least-connections"));
    let share_of_least = share(&proxy);
    assert!(share_of_least <= OFF, "{share_of_least}");
    reload(&proxy, &text([1, 1], "round-robin"));
    assert!(share(&proxy).abs_diff(CONNECTIONS / 2) <= OFF);
    drop(stay);
    proxy.stop();
}

/// Enough to prove bulk.
const BULK: u64 = 16 * MIB;

/// One way through a connection.
fn send(client: &TcpStream, server: &TcpStream, seed: u64) {
    let (sent, received) = thread::scope(|scope| {
        let sent = scope.spawn(|| bytes::send(&mut &*client, seed, BULK));
        let received = bytes::receive(&mut Read::take(&*server, BULK));
        (sent.join().expect("it is sent"), received)
    });
    assert_eq!(sent, received);
}

fn splice_begins_and_ends_with_new_connections(scheduler: Scheduler) {
    let server = Server::bind();
    let text = |splice: bool| {
        let listener = format!("splice = {splice}");
        let routes = forward_with(&[&server.address().to_string()], &listener, "");
        file(scheduler, &routes)
    };
    let proxy = Proxy::start_file(&text(true));
    let pair = || (proxy.connect("main"), server.accept());
    // How many bytes that another transfer had spliced.
    let spliced = |(client, server): &(TcpStream, TcpStream)| {
        let name = "corelane_listener_bytes_total";
        let before = proxy.metrics();
        send(client, server, 3);
        let total = before.get(name, &[]) + BULK as f64;
        let mut after = None;
        wait::until("all bytes are counted", || {
            let metrics = after.insert(proxy.metrics());
            metrics.get(name, &[]) == total
        });
        let count = |metrics: &Metrics| metrics.get("corelane_listener_spliced_bytes_total", &[]);
        count(&after.expect("it was looked at")) - count(&before)
    };
    let old = pair();
    assert!(spliced(&old) > 0.0);
    reload(&proxy, &text(false));
    let copies = pair();
    assert_eq!(spliced(&copies), 0.0);
    // It keeps what it began with.
    assert!(spliced(&old) > 0.0);
    reload(&proxy, &text(true));
    assert!(spliced(&pair()) > 0.0);
    assert_eq!(spliced(&copies), 0.0);
    drop((old, copies));
    proxy.stop();
}

/// What the manual promises for 10 µs.
const SHORT_TURN: f64 = 64.0 * 1024.0;

/// Copied before it is known to be bulk, when a turn may be longer by a buffer.
const COPIED: f64 = 1024.0 * 1024.0;

fn latency_shortens_the_turns_of_connections_that_run(scheduler: Scheduler) {
    let server = Server::bind();
    let text = |latency: &str| {
        let routes = forward_with(&[&server.address().to_string()], latency, "");
        file(scheduler, &routes)
    };
    let proxy = Proxy::start_file(&text(""));
    let pair = (proxy.connect("main"), server.accept());
    // Times that it ran for what was sent.
    let turns = || {
        let polls = || proxy.metric("corelane_core_polls_total", &[]);
        let bytes = || proxy.metric("corelane_listener_bytes_total", &[]);
        let (before, sent) = (polls(), bytes());
        // While it stands still, as much as fits waits for it.
        for seed in 0..4 {
            send(&pair.0, &pair.1, seed);
        }
        wait::until("all bytes are counted", || {
            bytes() == sent + 4.0 * BULK as f64
        });
        polls() - before
    };
    let long = turns();
    reload(&proxy, &text("latency = \"10us\""));
    let short = turns();
    let all = 4.0 * BULK as f64;
    assert!(
        all <= short * SHORT_TURN + COPIED,
        "{all} bytes in {short} turns, {long} before"
    );
    reload(&proxy, &text(""));
    println!("{long} turns, {short} short ones, then {}", turns());
    drop(pair);
    proxy.stop();
}

/// Long enough for what must not happen.
const WHILE: Duration = Duration::from_millis(700);

fn a_connect_gives_up_after_the_timeout_that_it_began_with(scheduler: Scheduler) {
    let hole = Full::on_loopback();
    let text = |timeout: &str| {
        let upstream = format!("connect_timeout = \"{timeout}\"");
        let hole = hole.address().to_string();
        let routes = route("main", "127.0.0.1:0", &[&hole], "", &upstream);
        file(scheduler, &routes)
    };
    let proxy = Proxy::start_file(&text("50s"));
    let failures = || {
        let reason = [("reason", "timeout")];
        proxy.metric("corelane_upstream_connect_failures_total", &reason)
    };
    let waits = || proxy.metric("corelane_upstream_queue", &[]);
    let old = proxy.connect("main");
    wait::until("it is connecting", || waits() == 1.0);
    thread::sleep(WHILE);
    assert_eq!(failures(), 0.0);
    reload(&proxy, &text("100ms"));
    let quick = proxy.connect("main");
    peer::assert_closed_unanswered(quick);
    wait::until("it is counted", || failures() == 1.0);
    thread::sleep(WHILE);
    assert_eq!((waits(), failures()), (1.0, 1.0), "the one before waits");
    reload(&proxy, &text("50s"));
    let patient = proxy.connect("main");
    wait::until("it is connecting", || waits() == 2.0);
    thread::sleep(WHILE);
    assert_eq!((waits(), failures()), (2.0, 1.0));
    drop((old, patient));
    wait::until("both are given up", || waits() == 0.0);
    proxy.stop();
}

fn checks_come_as_often_as_is_asked_for(scheduler: Scheduler) {
    let server = peer::echo();
    let text = |interval: &str| {
        let health = format!("[upstreams.main.health]\ninterval = \"{interval}\"\n");
        let routes = forward_with(&[&server.address().to_string()], "", &health);
        file(scheduler, &routes)
    };
    let proxy = Proxy::start_file(&text("1h"));
    let checks = || proxy.metric("corelane_upstream_health_checks_total", &[]);
    thread::sleep(WHILE);
    let first = checks();
    assert!(first <= 1.0, "{first}");
    reload(&proxy, &text("100ms"));
    wait::until("it is checked often", || checks() >= first + 5.0);
    reload(&proxy, &text("1h"));
    let last = checks();
    thread::sleep(WHILE);
    assert!(checks() <= last + 2.0, "{last}, then {}", checks());
    proxy.stop();
}

/// Connections that such a reload had to move, or to end, would be those of workers that went.
fn a_limit_of_the_process_changes_and_its_workers_stay(scheduler: Scheduler) {
    let text = |limit| {
        let runtime = format!("on_switch = \"drain\"\nmax_connections = {limit}\n");
        let routes = forward_with(&["builtin:echo"], "", "");
        change::text(scheduler, 2, &runtime, &routes)
    };
    let proxy = Proxy::start_file(&text(8));
    let exchange = |mut client: &TcpStream| {
        client.write_all(b"x").expect("send");
        client.read_exact(&mut [0]).expect("receive");
    };
    let [old, other] = [proxy.connect("main"), proxy.connect("main")];
    exchange(&old);
    exchange(&other);
    reload(&proxy, &text(2));
    peer::assert_closed_unanswered(proxy.connect("main"));
    reload(&proxy, &text(3));
    exchange(&proxy.connect("main"));
    exchange(&old);
    exchange(&other);
    assert_eq!(change::switched(&proxy.metrics()), 0.0);
    drop((old, other));
    proxy.stop();
}
