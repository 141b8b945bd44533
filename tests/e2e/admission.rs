//! Limits of a listener, of its sources and of the process, over two workers; and what clients beyond them see.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::config::{forward_with, route};
use crate::harness::listening;
use crate::harness::peer::{connect_from, end_of};
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, DEADLINE};

each_scheduler!(
    each_source_has_a_limit_of_its_own,
    no_more_begin_than_the_rate_allows,
    each_source_has_a_rate_of_its_own,
    the_process_has_a_limit_of_all_listeners,
    beyond_a_limit_clients_are_closed,
    beyond_a_limit_clients_are_reset,
    beyond_a_limit_clients_wait_for_a_place,
    beyond_a_rate_clients_wait_for_their_time,
    a_source_beyond_its_limit_is_closed_where_others_wait,
    limits_change_by_a_reload,
    where_peers_announce_clients_the_client_counts,
    a_switch_does_not_wait_for_places,
    a_higher_limit_serves_those_who_wait,
    a_stop_serves_those_who_wait_or_resets_them,
);

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

fn limited(listener: &str) -> String {
    forward_with(&["builtin:echo"], listener, "")
}

fn connect(proxy: &Proxy, last: u8) -> TcpStream {
    connect_from(loopback(last), proxy.address("main"))
}

/// The connection, if it is served.
fn served(proxy: &Proxy, last: u8) -> Option<TcpStream> {
    let client = connect(proxy, last);
    echoes(&client).then_some(client)
}

fn echoes(mut client: &TcpStream) -> bool {
    let asked = client.write_all(b"?");
    asked.is_ok() && client.read(&mut [0; 1]).is_ok_and(|size| size == 1)
}

fn rejected(proxy: &Proxy, reason: &str) -> f64 {
    let labels = [("listener", "main"), ("reason", reason)];
    proxy.metric("corelane_listener_rejected_total", &labels)
}

fn each_source_has_a_limit_of_its_own(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &limited("max_connections_per_source = 3"));
    let mut open: Vec<_> = (0..3).map(|_| served(&proxy, 2)).collect();
    assert!(open.iter().all(Option::is_some));
    // Whichever worker the kernel chooses.
    for _ in 0..20 {
        assert!(served(&proxy, 2).is_none());
    }
    let others: Vec<_> = (3..9).map(|last| served(&proxy, last)).collect();
    assert!(others.iter().all(Option::is_some));
    wait::until("20 are counted", || {
        rejected(&proxy, "source_connections") == 20.0
    });
    let sources = || proxy.metric("corelane_listener_sources", &[("listener", "main")]);
    assert_eq!(sources(), 7.0);
    proxy.logs("clients are turned away");
    let log = proxy.log();
    assert_eq!(log.matches("clients are turned away").count(), 1, "{log}");
    open.pop();
    wait::until("there is room for another", || {
        open.push(served(&proxy, 2));
        open.last().is_some_and(Option::is_some)
    });
    drop((open, others));
    wait::until("nobody is left", || sources() == 0.0);
    proxy.stop();
}

/// Connects for a while, more at a time than may begin in it; how many were served, and how long it took at most.
fn flood(proxy: &Proxy, last: u8) -> (usize, Duration) {
    const AT_ONCE: usize = 30;
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < Duration::from_millis(700) {
        let clients: Vec<_> = (0..AT_ONCE).map(|_| connect(proxy, last)).collect();
        count += clients.iter().filter(|client| echoes(client)).count();
    }
    (count, begin.elapsed())
}

fn no_more_begin_than_the_rate_allows(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &limited("max_rate = 10\nburst = 3"));
    let (count, elapsed) = flood(&proxy, 2);
    // It started full. Some time has passed since, in which it stayed so.
    let most = 3.0 + 10.0 * elapsed.as_secs_f64();
    assert!((3..=most as usize).contains(&count), "{count} of {most}");
    assert!(rejected(&proxy, "rate") > 0.0);
    wait::until("more may come", || served(&proxy, 2).is_some());
    proxy.stop();
}

fn each_source_has_a_rate_of_its_own(scheduler: Scheduler) {
    let limits = "max_rate_per_source = 10\nburst_per_source = 3";
    let proxy = Proxy::start(scheduler, &limited(limits));
    let counts = thread::scope(|scope| {
        let proxy = &proxy;
        let floods = [2, 3, 4].map(|last| scope.spawn(move || flood(proxy, last)));
        floods.map(|flood| flood.join().expect("a flood"))
    });
    for (count, elapsed) in counts {
        let most = 3.0 + 10.0 * elapsed.as_secs_f64();
        assert!((3..=most as usize).contains(&count), "{count} of {most}");
    }
    assert!(rejected(&proxy, "source_rate") > 0.0);
    assert_eq!(rejected(&proxy, "rate"), 0.0);
    proxy.stop();
}

fn the_process_has_a_limit_of_all_listeners(scheduler: Scheduler) {
    let any = "127.0.0.1:0";
    let routes = limited("") + &route("other", any, &["builtin:echo"], "", "");
    let proxy = Proxy::start_with(scheduler, "max_connections = 3\n", &routes);
    let mut open: Vec<_> = (0..2).map(|_| served(&proxy, 2).expect("room")).collect();
    let other = proxy.connect("other");
    assert!(echoes(&other));
    assert!(served(&proxy, 2).is_none());
    assert!(!echoes(&proxy.connect("other")));
    wait::until("it is counted", || {
        rejected(&proxy, "process_connections") == 1.0
    });
    open.pop();
    wait::until("there is room for another", || {
        echoes(&proxy.connect("other"))
    });
    drop((open, other));
    proxy.stop();
}

fn beyond_a_limit_clients_are_closed(scheduler: Scheduler) {
    let limits = "max_connections = 1\nover_limit = \"close\"";
    let proxy = Proxy::start(scheduler, &limited(limits));
    let open = served(&proxy, 2).expect("room");
    assert_eq!(end_of(&mut connect(&proxy, 2)), None);
    drop(open);
    proxy.stop();
}

fn beyond_a_limit_clients_are_reset(scheduler: Scheduler) {
    let limits = "max_connections = 1\ndeny = \"127.0.0.9\"\nover_limit = \"reset\"";
    let proxy = Proxy::start(scheduler, &limited(limits));
    let open = served(&proxy, 2).expect("room");
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(end_of(&mut connect(&proxy, 2)), reset);
    assert_eq!(end_of(&mut connect(&proxy, 9)), reset);
    assert!(echoes(&open));
    drop(open);
    proxy.stop();
}

fn beyond_a_limit_clients_wait_for_a_place(scheduler: Scheduler) {
    const CLIENTS: usize = 20;
    let limits = "max_connections = 2\nover_limit = \"wait\"";
    let proxy = Proxy::start(scheduler, &limited(limits));
    let open = [2, 3].map(|last| served(&proxy, last).expect("room"));
    let waiting: Vec<_> = (0..CLIENTS).map(|_| connect(&proxy, 4)).collect();
    for mut client in &waiting {
        client.write_all(b"?").expect("it is connected");
    }
    let mut first = &waiting[0];
    let timeout = |time| first.set_read_timeout(Some(time)).expect("a timeout");
    timeout(Duration::from_millis(300));
    let silence = first.read(&mut [0; 1]).expect_err("nobody is there for it");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    timeout(DEADLINE);
    assert!(open.iter().all(echoes));
    let connections = || proxy.metric("corelane_listener_connections", &[("listener", "main")]);
    assert_eq!(connections(), 2.0);
    drop(open);
    all_are_served(waiting);
    assert_eq!(rejected(&proxy, "max_connections"), 0.0);
    let taken = proxy.metric(
        "corelane_listener_connections_total",
        &[("listener", "main")],
    );
    assert_eq!(taken as usize, CLIENTS + 2);
    proxy.stop();
}

fn beyond_a_rate_clients_wait_for_their_time(scheduler: Scheduler) {
    let limits = "max_rate = 20\nburst = 1\nover_limit = \"wait\"";
    let proxy = Proxy::start(scheduler, &limited(limits));
    let begin = Instant::now();
    let clients: Vec<_> = (0..11).map(|_| connect(&proxy, 2)).collect();
    assert!(clients.iter().all(echoes));
    // Ten of them had to wait, each for a twentieth of a second.
    assert!(begin.elapsed() >= Duration::from_millis(490));
    assert_eq!(rejected(&proxy, "rate"), 0.0);
    drop(clients);
    proxy.stop();
}

fn a_source_beyond_its_limit_is_closed_where_others_wait(scheduler: Scheduler) {
    let limits = "max_connections_per_source = 1\nmax_connections = 2\nover_limit = \"wait\"";
    let proxy = Proxy::start(scheduler, &limited(limits));
    let open = served(&proxy, 2).expect("room");
    assert_eq!(end_of(&mut connect(&proxy, 2)), None);
    let other = served(&proxy, 3).expect("room");
    drop((open, other));
    proxy.stop();
}

fn limits_change_by_a_reload(scheduler: Scheduler) {
    let text = |limits: &str| proxy::configuration(scheduler, "", &limited(limits));
    let first = "max_connections_per_source = 5\nmax_rate_per_source = 1000000";
    let proxy = Proxy::start_file(&text(first));
    let file = proxy.directory().join("corelane.toml");
    let reload = |limits: &str, sign: &str| {
        std::fs::write(&file, text(limits)).expect("write");
        proxy.signal(Signal::HUP);
        wait::until("it is reloaded", || {
            let config = String::from_utf8(proxy.get("/config").body).expect("UTF-8");
            config.contains(sign)
        });
    };
    let open: Vec<_> = (0..3).map(|_| served(&proxy, 2).expect("room")).collect();
    // Those that are open count under the new limit.
    let lower = "max_connections_per_source = 3\nover_limit = \"reset\"";
    reload(lower, "max_connections_per_source = 3\n");
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(end_of(&mut connect(&proxy, 2)), reset);
    assert!(served(&proxy, 3).is_some());
    reload("max_rate = 1\nburst = 2", "burst = 2\n");
    let mut more: Vec<_> = (0..2)
        .map(|_| served(&proxy, 2).expect("a burst"))
        .collect();
    // Another one may begin each second.
    wait::until("one is closed", || {
        let next = served(&proxy, 3);
        let is_closed = next.is_none();
        more.extend(next);
        is_closed
    });
    drop((open, more));
    proxy.stop();
}

/// The balancer itself is denied, which says nothing of its clients.
fn where_peers_announce_clients_the_client_counts(scheduler: Scheduler) {
    let limits = "accept_proxy_protocol = \"required\"\ndeny = [\"10.6.6.0/24\", \"127.0.0.1\"]\n\
                  max_connections_per_source = 1";
    let proxy = Proxy::start(scheduler, &limited(limits));
    let announced = |client: &str| {
        let mut balancer = connect(&proxy, 1);
        let header = format!("PROXY TCP4 {client} 10.0.0.1 1234 80\r\n");
        balancer
            .write_all(header.as_bytes())
            .expect("it is connected");
        echoes(&balancer).then_some(balancer)
    };
    let first = announced("10.1.1.1");
    assert!(first.is_some());
    assert!(announced("10.1.1.1").is_none());
    assert!(announced("10.1.1.2").is_some());
    assert!(announced("10.6.6.6").is_none());
    wait::until("they are counted", || {
        rejected(&proxy, "source_connections") == 1.0 && rejected(&proxy, "denied") == 1.0
    });
    drop(first);
    wait::until("it has left", || announced("10.1.1.1").is_some());
    proxy.stop();
}

/// Two that are served and ten that wait, of a listener that has two places.
fn full(proxy: &Proxy) -> ([TcpStream; 2], Vec<TcpStream>) {
    let open = [2, 3].map(|last| served(proxy, last).expect("room"));
    let waiting: Vec<_> = (0..10).map(|_| connect(proxy, 4)).collect();
    for mut client in &waiting {
        client.write_all(b"?").expect("it is connected");
    }
    // Each socket that is accepted from holds one.
    wait::until("one is held", || {
        listening::waiting(proxy.address("main")) < waiting.len()
    });
    (open, waiting)
}

const FULL: &str = "max_connections = 2\nover_limit = \"wait\"";

fn a_switch_does_not_wait_for_places(scheduler: Scheduler) {
    let hour = "drain_timeout = \"1h\"\n";
    let proxy = Proxy::start_with(scheduler, hour, &limited(FULL));
    let (open, waiting) = full(&proxy);
    let other = match scheduler {
        Scheduler::WorkStealing => Scheduler::PerCore,
        _ => Scheduler::WorkStealing,
    };
    let text = proxy::configuration(other, hour, &limited(FULL));
    std::fs::write(proxy.directory().join("corelane.toml"), text).expect("write");
    proxy.signal(Signal::HUP);
    let labels = [("to", other.name()), ("result", "success")];
    wait::until("the switch is over", || {
        proxy.metric("corelane_runtime_switches_total", &labels) == 1.0
    });
    assert!(open.iter().all(echoes));
    let connections = || proxy.metric("corelane_listener_connections", &[("listener", "main")]);
    assert_eq!(connections(), 2.0, "those that were held still wait");
    drop(open);
    all_are_served(waiting);
    proxy.stop();
}

fn a_higher_limit_serves_those_who_wait(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &limited(FULL));
    let (open, waiting) = full(&proxy);
    let higher = "max_connections = 12\nover_limit = \"wait\"";
    proxy.reload(scheduler, &limited(higher));
    // All of them at once: none leaves before the last one is served.
    for mut client in &waiting {
        let size = client.read(&mut [0; 1]).expect("it is served");
        assert_eq!(size, 1);
    }
    assert!(open.iter().all(echoes));
    // Who comes now is turned away, and so is whoever waits.
    let more = connect(&proxy, 4);
    thread::sleep(Duration::from_millis(100));
    let closes = "max_connections = 12\nover_limit = \"close\"";
    proxy.reload(scheduler, &limited(closes));
    assert!(!echoes(&more));
    drop((open, waiting));
    proxy.stop();
}

/// Those that the proxy holds are served, and those in the backlog as long as places become free. Then they are reset, however
/// long the others go on.
fn a_stop_serves_those_who_wait_or_resets_them(scheduler: Scheduler) {
    let hour = "drain_timeout = \"1h\"\n";
    let mut proxy = Proxy::start_with(scheduler, hour, &limited(FULL));
    let (open, waiting) = full(&proxy);
    proxy.terminate();
    let served = waiting.iter().filter(|client| {
        let mut client: &TcpStream = client;
        match client.read(&mut [0; 1]) {
            Ok(size) => size == 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                false
            }
        }
    });
    assert!((1..waiting.len()).contains(&served.count()));
    assert!(open.iter().all(echoes), "they go on");
    drop((open, waiting));
    assert_eq!(proxy.wait().code(), Some(0));
}

/// Each leaves when it is served, in whichever order.
fn all_are_served(waiting: Vec<TcpStream>) {
    thread::scope(|scope| {
        for mut client in waiting {
            scope.spawn(move || {
                let size = client.read(&mut [0; 1]).expect("it is served");
                assert_eq!(size, 1);
            });
        }
    });
}
