//! Who has connected counts, whichever client it announces: in lists, in routes, and while its header is still to come.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::harness::change;
use crate::harness::config::forward_with;
use crate::harness::peer::{self, connect_from};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    lists_of_peers_hold_whoever_is_announced,
    routes_go_by_the_peer_whoever_is_announced,
    half_headers_of_a_peer_are_bounded,
    half_headers_are_counted_over_a_reload_and_a_switch,
    peers_that_are_trusted_by_name_send_as_many_as_they_like,
    untrusted_peers_count_as_clients_at_the_accept,
);

const HALF: &[u8] = b"PROXY TCP4 ";

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

fn rejected(proxy: &Proxy, reason: &str) -> f64 {
    let labels = [("listener", "main"), ("reason", reason)];
    proxy.metric("corelane_listener_rejected_total", &labels)
}

fn connections(proxy: &Proxy) -> f64 {
    proxy.metric("corelane_listener_connections", &[("listener", "main")])
}

fn start(scheduler: Scheduler, listener: &str) -> Proxy {
    let listener = format!("prologue_timeout = \"1h\"\n{listener}");
    Proxy::start(scheduler, &forward_with(&["builtin:echo"], &listener, ""))
}

/// A connection of a peer that has said this.
fn said(proxy: &Proxy, last: u8, bytes: &[u8]) -> TcpStream {
    let mut client = connect_from(loopback(last), proxy.address("main"));
    // It may be refused already.
    let _ = client.write_all(bytes);
    client
}

fn answers(mut client: &TcpStream) -> bool {
    let asked = client.write_all(b"?");
    asked.is_ok() && client.read(&mut [0; 1]).is_ok_and(|size| size == 1)
}

/// A connection of a peer that announces a client of its own.
fn announces(proxy: &Proxy, last: u8, client: &str) -> Option<TcpStream> {
    let header = format!("PROXY TCP4 {client} 192.0.2.1 5 443\r\n");
    let client = said(proxy, last, header.as_bytes());
    answers(&client).then_some(client)
}

fn lists_of_peers_hold_whoever_is_announced(scheduler: Scheduler) {
    let lists = "accept_proxy_protocol = \"optional\"\ndeny = \"198.51.100.0/24\"\n\
                 deny_peer = [\"127.0.0.8/29\"]\nallow_peer = [\"127.0.0.0/8\"]";
    let proxy = start(scheduler, lists);
    for (peer, client, is_served) in [
        (1, "192.0.2.7", true),
        (1, "198.51.100.7", false),
        (9, "192.0.2.7", false),
        (9, "127.0.0.1", false),
    ] {
        let served = announces(&proxy, peer, client).is_some();
        assert_eq!(served, is_served, "127.0.0.{peer} for {client}");
    }
    // Who announces nobody is a client, and a peer as well.
    assert!(answers(&said(&proxy, 1, b"GET / HTTP/1.1\r\n")));
    assert!(!answers(&said(&proxy, 9, b"GET / HTTP/1.1\r\n")));
    wait::until("4 are counted", || rejected(&proxy, "denied") == 4.0);
    // It is closed before it says anything.
    peer::assert_closed_unanswered(said(&proxy, 9, b""));
    proxy.stop();
}

fn routes_go_by_the_peer_whoever_is_announced(scheduler: Scheduler) {
    let routes = "accept_proxy_protocol = true\n\
                  [[listeners.main.routes]]\npeer = \"127.0.0.9\"\nsource = \"10.0.0.0/8\"\nupstream = \"main\"\n\
                  [[listeners.main.routes]]\npeer = \"127.0.0.9\"\nreject = true";
    let proxy = start(scheduler, routes);
    assert!(announces(&proxy, 9, "10.1.2.3").is_some());
    assert!(announces(&proxy, 9, "192.0.2.7").is_none());
    assert!(announces(&proxy, 1, "192.0.2.7").is_some());
    wait::until("it is counted", || rejected(&proxy, "route") == 1.0);
    proxy.stop();
}

fn half_headers_of_a_peer_are_bounded(scheduler: Scheduler) {
    let limits = "accept_proxy_protocol = true\nmax_connections_per_source = 3";
    let proxy = start(scheduler, limits);
    let half: Vec<_> = (0..3).map(|_| said(&proxy, 9, HALF)).collect();
    wait::until("all are accepted", || connections(&proxy) == 3.0);
    for _ in 0..10 {
        peer::assert_closed_unanswered(said(&proxy, 9, HALF));
    }
    wait::until("10 are counted", || {
        rejected(&proxy, "peer_headers") == 10.0
    });
    // Others have their own.
    let other = announces(&proxy, 3, "10.1.1.1").expect("room");
    // A connection whose header is there counts for the client that it announces.
    for (place, client) in half.iter().enumerate() {
        let mut writer: &TcpStream = client;
        let rest = format!("10.2.2.{place} 192.0.2.1 5 443\r\n");
        writer.write_all(rest.as_bytes()).expect("send");
        assert!(answers(client));
    }
    let more: Vec<_> = (10..16)
        .map(|last| announces(&proxy, 9, &format!("10.3.3.{last}")).expect("another client"))
        .collect();
    assert_eq!(rejected(&proxy, "source_connections"), 0.0);
    // One that goes away in the middle leaves its place.
    for _ in 0..5 {
        let gone = said(&proxy, 9, HALF);
        wait::until("it is accepted", || connections(&proxy) == 11.0);
        drop(gone);
        wait::until("it is gone", || connections(&proxy) == 10.0);
    }
    assert_eq!(rejected(&proxy, "peer_headers"), 10.0);
    drop((half, other, more));
    proxy.stop();
}

/// Those that are still heard where they came count for their peer in the new settings, and under the new scheduler.
fn half_headers_are_counted_over_a_reload_and_a_switch(scheduler: Scheduler) {
    let text = |scheduler, lines: &str| {
        let listener = format!(
            "accept_proxy_protocol = true\nprologue_timeout = \"1h\"\nmax_headers_per_peer = 2\n{lines}"
        );
        let routes = forward_with(&["builtin:echo"], &listener, "");
        change::text(scheduler, 2, "drain_timeout = \"1h\"", &routes)
    };
    let proxy = Proxy::start_file(&text(scheduler, ""));
    let mut half: Vec<_> = (0..2).map(|_| said(&proxy, 9, HALF)).collect();
    wait::until("both are accepted", || connections(&proxy) == 2.0);
    let is_full = || {
        let before = rejected(&proxy, "peer_headers");
        peer::assert_closed_unanswered(said(&proxy, 9, HALF));
        wait::until("it is counted", || {
            rejected(&proxy, "peer_headers") == before + 1.0
        });
        assert!(announces(&proxy, 3, "10.1.1.1").is_some(), "another peer");
    };
    is_full();
    change::reload(&proxy, &text(scheduler, "max_rate = 1000000"));
    is_full();
    let mut others = Scheduler::ALL.into_iter();
    let to = others.find(|to| *to != scheduler && to.usable());
    let to = to.expect("Tokio has two modes");
    change::reload(&proxy, &text(to, "max_rate = 1000000"));
    is_full();
    // The switch ends with the last of them. Each leaves its place to another one, whoever runs it.
    let mut served = Vec::new();
    while let Some(client) = half.pop() {
        assert_eq!(change::switched(&proxy.metrics()), 0.0);
        let mut writer: &TcpStream = &client;
        let rest = "10.2.2.2 192.0.2.1 5 443\r\n";
        writer.write_all(rest.as_bytes()).expect("send");
        assert!(answers(&client));
        served.push(client);
        served.push(said(&proxy, 9, HALF));
        wait::until("it is accepted", || {
            connections(&proxy) == (served.len() + half.len()) as f64
        });
        is_full();
    }
    wait::until("the switch is over", || {
        change::switched(&proxy.metrics()) == 1.0
    });
    is_full();
    assert!(answers(&served[0]) && answers(&served[2]));
    drop(served);
    proxy.stop();
}

fn peers_that_are_trusted_by_name_send_as_many_as_they_like(scheduler: Scheduler) {
    let limits =
        "accept_proxy_protocol = true\ntrusted = [\"127.0.0.0/8\"]\nmax_connections_per_source = 1";
    let proxy = start(scheduler, limits);
    let half: Vec<_> = (0..8).map(|_| said(&proxy, 9, HALF)).collect();
    wait::until("all are accepted", || connections(&proxy) == 8.0);
    assert!(announces(&proxy, 9, "10.1.1.1").is_some());
    assert_eq!(rejected(&proxy, "peer_headers"), 0.0);
    drop(half);
    proxy.stop();
    let proxy = start(scheduler, &format!("{limits}\nmax_headers_per_peer = 2"));
    let half: Vec<_> = (0..2).map(|_| said(&proxy, 9, HALF)).collect();
    wait::until("all are accepted", || connections(&proxy) == 2.0);
    peer::assert_closed_unanswered(said(&proxy, 9, HALF));
    wait::until("it is counted", || rejected(&proxy, "peer_headers") == 1.0);
    drop(half);
    proxy.stop();
}

/// They announce nobody, so nothing has to be heard of them for that.
fn untrusted_peers_count_as_clients_at_the_accept(scheduler: Scheduler) {
    let limits = "accept_proxy_protocol = \"optional\"\ntrusted = [\"127.0.0.3\"]\ndeny = \"127.0.0.8\"\n\
                  max_connections_per_source = 2\n\
                  [[listeners.main.routes]]\nsni = \"a.example\"\nupstream = \"main\"";
    let proxy = start(scheduler, limits);
    let silent: Vec<_> = (0..2).map(|_| said(&proxy, 9, b"")).collect();
    wait::until("all are accepted", || connections(&proxy) == 2.0);
    peer::assert_closed_unanswered(said(&proxy, 9, b""));
    wait::until("it is counted", || {
        rejected(&proxy, "source_connections") == 1.0
    });
    peer::assert_closed_unanswered(said(&proxy, 8, b""));
    wait::until("it is denied", || rejected(&proxy, "denied") == 1.0);
    assert!(silent.iter().all(answers));
    drop(silent);
    proxy.stop();
}
