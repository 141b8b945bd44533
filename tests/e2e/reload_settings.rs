//! SIGHUP: servers, limits and timeouts change while connections run, which keep what they began with.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::config::{forward, forward_with, route};
use crate::harness::peer::{self, Service};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    servers_change,
    a_server_that_comes_back_goes_on_counting,
    connections_of_a_removed_server_are_reset_if_that_is_asked_for,
    a_limit_counts_those_that_were_there_before,
    connections_keep_their_timeout,
    a_listener_goes_to_another_upstream,
    checks_come_and_go,
    names_are_resolved,
);

/// Has the proxy read this, and waits until it has.
fn reload(proxy: &Proxy, scheduler: Scheduler, routes: &str) {
    let at = || proxy.metric("corelane_config_last_reload_timestamp_seconds", &[]);
    let before = at();
    proxy.reload(scheduler, routes);
    wait::until("it is reloaded", || at() > before);
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"still here").expect("send");
    let mut answer = [0; 10];
    client.read_exact(&mut answer).expect("receive");
    assert_eq!(&answer, b"still here");
}

/// A connection that exchanged something.
fn established(proxy: &Proxy) -> TcpStream {
    let client = proxy.connect("main");
    exchange(&client);
    client
}

fn to(servers: &[&Service]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|one| one.address().to_string())
        .collect();
    forward(&servers.iter().map(String::as_str).collect::<Vec<_>>())
}

fn connections(proxy: &Proxy, server: &Service) -> f64 {
    let server = server.address().to_string();
    proxy.metric("corelane_upstream_connections", &[("server", &server)])
}

fn servers_change(scheduler: Scheduler) {
    let (first, second, third) = (peer::echo(), peer::echo(), peer::echo());
    let proxy = Proxy::start(scheduler, &to(&[&first, &second]));
    let old = [(); 4].map(|()| established(&proxy));
    assert_eq!((first.accepted(), second.accepted()), (2, 2));
    reload(&proxy, scheduler, &to(&[&second, &third]));
    let new = [(); 4].map(|()| established(&proxy));
    assert_eq!(first.accepted(), 2, "it was removed");
    assert_eq!((second.accepted(), third.accepted()), (4, 2));
    old.iter().for_each(exchange);
    // Its connections are shown as long as there are some, and it after that.
    assert_eq!(connections(&proxy, &first), 2.0);
    let listed = proxy.get("/connections");
    let listed = String::from_utf8(listed.body).expect("JSON");
    assert!(listed.contains(&first.address().to_string()), "{listed}");
    drop(old);
    wait::until("they have ended", || connections(&proxy, &first) == 0.0);
    let metrics = proxy.metrics();
    let server = first.address().to_string();
    let labels = [("server", &server[..])];
    let mut series = metrics.series("corelane_upstream_connections", &labels);
    assert!(series.next().is_some(), "{}", metrics.text());
    proxy.logs(&format!(
        "[upstreams.main] servers: {} is new",
        third.address()
    ));
    proxy.logs(&format!(
        "[upstreams.main] servers: {} is removed",
        first.address()
    ));
    drop(new);
    proxy.stop();
}

fn a_server_that_comes_back_goes_on_counting(scheduler: Scheduler) {
    let (first, second) = (peer::echo(), peer::echo());
    let proxy = Proxy::start(scheduler, &to(&[&first, &second]));
    let (own, other) = (to(&[&first, &second]), to(&[&second]));
    let server = first.address().to_string();
    let labels = [("server", &server[..]), ("direction", "in")];
    let bytes = || proxy.metric("corelane_upstream_bytes_total", &labels);
    for round in 1..=3_u8 {
        drop([established(&proxy), established(&proxy)]);
        wait::until("both are counted", || {
            proxy.metric("corelane_listener_connections", &[]) == 0.0
        });
        assert_eq!(bytes(), f64::from(round) * 10.0);
        reload(&proxy, scheduler, &other);
        assert_eq!(bytes(), f64::from(round) * 10.0);
        reload(&proxy, scheduler, &own);
        assert_eq!(bytes(), f64::from(round) * 10.0);
    }
    proxy.stop();
}

fn connections_of_a_removed_server_are_reset_if_that_is_asked_for(scheduler: Scheduler) {
    let (first, second) = (peer::echo(), peer::echo());
    let proxy = Proxy::start(scheduler, &to(&[&first, &second]));
    // By turns: to the first, to the second.
    let mut clients = [(); 4].map(|()| established(&proxy));
    let own = second.address().to_string();
    let reset = forward_with(&[&own], "", "on_removed = \"reset\"");
    reload(&proxy, scheduler, &reset);
    for place in [0, 2] {
        let end = peer::end_of(&mut clients[place]);
        assert_eq!(end, Some(ErrorKind::ConnectionReset));
    }
    exchange(&clients[1]);
    exchange(&clients[3]);
    let cause = [("cause", "server_removed")];
    wait::until("both ends are counted", || {
        proxy.metric("corelane_listener_ended_total", &cause) == 2.0
    });
    // One that is there again is like any other.
    let both = [first.address().to_string(), own];
    let both = forward_with(&[&both[0], &both[1]], "", "on_removed = \"reset\"");
    reload(&proxy, scheduler, &both);
    let more = [established(&proxy), established(&proxy)];
    assert_eq!(connections(&proxy, &first), 1.0);
    more.iter().for_each(exchange);
    drop((clients, more));
    proxy.stop();
}

fn a_limit_counts_those_that_were_there_before(scheduler: Scheduler) {
    let limited = |line: &str| forward_with(&["builtin:echo"], line, "");
    let proxy = Proxy::start(scheduler, &limited(""));
    let mut clients: Vec<_> = (0..3).map(|_| established(&proxy)).collect();
    reload(&proxy, scheduler, &limited("max_connections = 3"));
    peer::assert_closed_unanswered(proxy.connect("main"));
    clients.pop();
    let again = || {
        let client = proxy.connect("main");
        (&client).write_all(b"x").ok()?;
        let answered = matches!((&client).read(&mut [0; 1]), Ok(1));
        answered.then_some(client)
    };
    let mut last = None;
    wait::until("there is room again", || {
        last = again();
        last.is_some()
    });
    clients.extend(last);
    peer::assert_closed_unanswered(proxy.connect("main"));
    reload(&proxy, scheduler, &limited("max_connections = 1"));
    peer::assert_closed_unanswered(proxy.connect("main"));
    clients.iter().for_each(exchange);
    reload(&proxy, scheduler, &limited("max_connections = 5"));
    clients.push(established(&proxy));
    clients.push(established(&proxy));
    peer::assert_closed_unanswered(proxy.connect("main"));
    reload(&proxy, scheduler, &limited(""));
    clients.push(established(&proxy));
    assert_eq!(
        proxy.metric("corelane_listener_connections", &[]),
        clients.len() as f64
    );
    drop(clients);
    proxy.stop();
}

fn connections_keep_their_timeout(scheduler: Scheduler) {
    let with = |line: &str| forward_with(&["builtin:echo"], line, "");
    let proxy = Proxy::start(scheduler, &with("idle_timeout = \"off\""));
    let old = established(&proxy);
    reload(&proxy, scheduler, &with("idle_timeout = \"1s\""));
    let mut new = established(&proxy);
    assert_eq!(peer::end_of(&mut new), None, "it was idle");
    exchange(&old);
    // Long after its time would have been up.
    std::thread::sleep(Duration::from_millis(1500));
    exchange(&old);
    reload(&proxy, scheduler, &with("idle_timeout = \"off\""));
    let new = established(&proxy);
    std::thread::sleep(Duration::from_millis(1500));
    exchange(&new);
    drop((old, new));
    proxy.stop();
}

fn a_listener_goes_to_another_upstream(scheduler: Scheduler) {
    let (first, second) = (peer::echo(), peer::echo());
    let upstreams = format!(
        "[upstreams.a]\nservers = [\"{}\"]\n[upstreams.b]\nservers = [\"{}\"]\n",
        first.address(),
        second.address()
    );
    let routes = |upstream: &str| {
        format!("[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n{upstreams}")
    };
    let proxy = Proxy::start(scheduler, &routes("a"));
    let old = established(&proxy);
    reload(&proxy, scheduler, &routes("b"));
    let new = established(&proxy);
    assert_eq!((first.accepted(), second.accepted()), (1, 1));
    exchange(&old);
    drop((old, new));
    proxy.stop();
}

fn checks_come_and_go(scheduler: Scheduler) {
    let (service, refusing) = (peer::echo(), peer::refusing());
    let servers = [service.address().to_string(), refusing.to_string()];
    let servers = [&servers[0][..], &servers[1][..]];
    let health = "[upstreams.main.health]\ninterval = \"100ms\"\nfall = 1\n";
    let (plain, checked) = (forward(&servers), forward_with(&servers, "", health));
    let proxy = Proxy::start(scheduler, &plain);
    let checks = || proxy.metric("corelane_upstream_health_checks_total", &[]);
    let labels = [("server", servers[1])];
    let up = || proxy.metric("corelane_upstream_up", &labels);
    assert_eq!((checks(), up()), (0.0, 1.0));
    reload(&proxy, scheduler, &checked);
    wait::until("checks find it down", || up() == 0.0);
    wait::until("the other is checked, too", || {
        let labels = [("server", servers[0]), ("result", "passed")];
        proxy.metric("corelane_upstream_health_checks_total", &labels) > 0.0
    });
    reload(&proxy, scheduler, &plain);
    // One that was under way may still have come in.
    let accepted = service.accepted();
    std::thread::sleep(Duration::from_millis(500));
    assert!(service.accepted() <= accepted + 1, "it is checked still");
    reload(&proxy, scheduler, &checked);
    let before = checks();
    wait::until("it is checked again", || checks() > before);
    proxy.stop();
}

fn names_are_resolved(scheduler: Scheduler) {
    let service = peer::echo();
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let name = format!("localhost:{}", service.address().port());
    reload(
        &proxy,
        scheduler,
        &route("main", "127.0.0.1:0", &[&name], "", ""),
    );
    drop(established(&proxy));
    assert_eq!(service.accepted(), 1);
    proxy.stop();
}
