//! Each way to choose a server, limits of servers, backups, and who stands in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

use crate::balance::{name_of, named};
use crate::harness::change;
use crate::harness::config::route;
use crate::harness::hello::client_hello;
use crate::harness::peer::{self, Service, assert_closed_unanswered, connect_from};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    full_servers_are_passed_over_under_each_policy,
    the_same_client_has_the_same_server_whoever_forwards,
    who_is_announced_who_announces_or_what_is_asked_for_is_hashed,
    random_two_avoids_the_busy_one,
    an_upstream_has_a_limit,
    backups_serve_when_nobody_else_can,
    another_upstream_stands_in,
    all_down_is_refused_if_that_is_asked_for,
    policies_weights_and_schedulers_change_while_connections_run,
);

/// With so many, a server that none of them hashes to is rarer than one in 10^11 runs.
const CLIENTS: u8 = 100;

const POLICIES: [&str; 5] = [
    "round-robin",
    "least-connections",
    "random-two",
    "source-hash",
    "first",
];

fn address(service: &Service) -> String {
    service.address().to_string()
}

/// A listener and an upstream of this name; servers are as in the file.
fn to(name: &str, servers: &[String], rest: &str) -> String {
    format!(
        "[listeners.{name}]\nbind = \"127.0.0.1:0\"\nupstream = \"{name}\"\n[upstreams.{name}]\nservers = [{}]\n{rest}\n",
        servers.join(", ")
    )
}

fn with(service: &Service, rest: &str) -> String {
    format!("{{ address = \"{}\", {rest} }}", service.address())
}

fn refused(proxy: &Proxy, listener: &str, reason: &str) -> f64 {
    let labels = [("listener", listener), ("reason", reason)];
    proxy.metric("corelane_listener_rejected_total", &labels)
}

fn connections(proxy: &Proxy, server: &str) -> f64 {
    proxy.metric("corelane_upstream_connections", &[("server", server)])
}

fn counts(clients: &[TcpStream]) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    for client in clients {
        *counts.entry(name_of(client)).or_default() += 1;
    }
    counts
}

fn full_servers_are_passed_over_under_each_policy(scheduler: Scheduler) {
    let servers = [named(0), named(1), named(2)];
    let limited = servers
        .each_ref()
        .map(|server| with(server, "max_connections = 4"));
    let routes: String = POLICIES
        .iter()
        .map(|policy| to(policy, &limited, &format!("balance = \"{policy}\"")))
        .collect();
    let proxy = Proxy::start(scheduler, &routes);
    for policy in POLICIES {
        let mut clients: Vec<_> = (0..12).map(|_| proxy.connect(policy)).collect();
        assert_eq!(
            counts(&clients),
            BTreeMap::from([(0, 4), (1, 4), (2, 4)]),
            "{policy}"
        );
        assert_closed_unanswered(proxy.connect(policy));
        wait::until("it is counted", || {
            refused(&proxy, policy, "servers_full") == 1.0
        });
        // One place is free, at whichever server.
        clients.pop();
        let upstream = [("upstream", policy)];
        wait::until("its end is known", || {
            let all = proxy.metrics();
            let all = all.series("corelane_upstream_connections", &upstream);
            all.map(|(_, count)| count).sum::<f64>() == 11.0
        });
        name_of(&proxy.connect(policy));
        assert_eq!(refused(&proxy, policy, "servers_full"), 1.0);
    }
}

fn the_same_client_has_the_same_server_whoever_forwards(scheduler: Scheduler) {
    let servers = [named(0), named(1), named(2), named(3)];
    let mut written = servers
        .each_ref()
        .map(|server| format!("\"{}\"", server.address()));
    let hashed = "balance = \"source-hash\"";
    let first = Proxy::start(scheduler, &to("main", &written, hashed));
    written.reverse();
    let second = Proxy::start(scheduler, &to("other", &written, hashed));
    let mut names = BTreeMap::new();
    for client in 1..=CLIENTS {
        let client = Ipv4Addr::new(127, 0, 3, client);
        let name =
            |proxy: &Proxy, listener| name_of(&connect_from(client, proxy.address(listener)));
        let had = name(&first, "main");
        assert_eq!(name(&first, "main"), had);
        assert_eq!(name(&second, "other"), had, "{client}");
        *names.entry(had).or_insert(0) += 1;
    }
    assert_eq!(names.len(), 4, "{names:?}");
}

/// `hash_on`: of the client, its peer and the name that it asks for, one decides and the others don't.
fn who_is_announced_who_announces_or_what_is_asked_for_is_hashed(scheduler: Scheduler) {
    let servers = [named(0), named(1), named(2), named(3)];
    let addresses = servers.each_ref().map(address);
    let servers = addresses.each_ref().map(String::as_str);
    let keys = ["source", "peer", "sni"];
    let routes = keys.map(|key| {
        let listener = format!(
            "accept_proxy_protocol = true\n[[listeners.{key}.routes]]\nsni = \"*\"\nupstream = \"{key}\""
        );
        let upstream = format!("balance = \"source-hash\"\nhash_on = \"{key}\"");
        route(key, "127.0.0.1:0", &servers, &listener, &upstream)
    });
    let proxy = Proxy::start(scheduler, &routes.concat());
    for key in keys {
        // Each is another one in turn, and the other two are the same.
        for varied in keys {
            let names: BTreeSet<u8> = (1..=CLIENTS)
                .map(|number| {
                    let is = |what: &str| if what == varied { number } else { 1 };
                    let peer = Ipv4Addr::new(127, 0, 3, is("peer"));
                    let mut client = connect_from(peer, proxy.address(key));
                    let header = format!("PROXY TCP4 10.1.2.{} 192.0.2.1 5 443\r\n", is("source"));
                    let hello = client_hello(&format!("{}.example", is("sni")), b"h2");
                    let said = [header.as_bytes(), &hello].concat();
                    client.write_all(&said).expect("send");
                    name_of(&client)
                })
                .collect();
            let expected = if varied == key { 4 } else { 1 };
            assert_eq!(
                names.len(),
                expected,
                "{key} where each {varied} is another: {names:?}"
            );
        }
    }
    proxy.stop();
}

fn random_two_avoids_the_busy_one(scheduler: Scheduler) {
    let servers = [named(0), named(1), named(2)];
    let written = servers
        .each_ref()
        .map(|server| format!("\"{}\"", server.address()));
    let proxy = Proxy::start(scheduler, &to("main", &written, "balance = \"random-two\""));
    // The busiest of three wins no pair.
    let held: Vec<_> = (0..30).map(|_| proxy.connect("main")).collect();
    let counted = counts(&held);
    assert!(
        (0..3).all(|name| counted[&name].abs_diff(10) <= 6),
        "{counted:?}"
    );
}

fn an_upstream_has_a_limit(scheduler: Scheduler) {
    let servers = [named(0), named(1)];
    let written = servers
        .each_ref()
        .map(|server| format!("\"{}\"", server.address()));
    let limit = |max: u32| to("main", &written, &format!("max_connections = {max}"));
    let proxy = Proxy::start_file(&change::text(scheduler, 2, "", &limit(3)));
    let clients: Vec<_> = (0..3).map(|_| proxy.connect("main")).collect();
    assert_eq!(counts(&clients).values().sum::<usize>(), 3);
    assert_closed_unanswered(proxy.connect("main"));
    wait::until("it is counted", || {
        refused(&proxy, "main", "servers_full") == 1.0
    });
    change::reload(&proxy, &change::text(scheduler, 2, "", &limit(4)));
    let fourth = proxy.connect("main");
    name_of(&fourth);
    assert_closed_unanswered(proxy.connect("main"));
}

fn backups_serve_when_nobody_else_can(scheduler: Scheduler) {
    let (primary, backup, drained) = (named(0), named(1), named(2));
    let dead = peer::refusing().to_string();
    let servers = |weight: u16| {
        [
            with(&backup, "backup = true"),
            with(&primary, &format!("max_connections = 1, weight = {weight}")),
            format!("\"{dead}\""),
            with(&drained, "weight = 0"),
        ]
    };
    let text = |weight| change::text(scheduler, 2, "", &to("main", &servers(weight), ""));
    let proxy = Proxy::start_file(&text(1));
    let first = proxy.connect("main");
    assert_eq!(name_of(&first), 0);
    for _ in 0..5 {
        assert_eq!(
            name_of(&proxy.connect("main")),
            1,
            "the primary one is full"
        );
    }
    drop(first);
    wait::until("it has room", || {
        connections(&proxy, &address(&primary)) == 0.0
    });
    let held = proxy.connect("main");
    assert_eq!(name_of(&held), 0);
    change::reload(&proxy, &text(0));
    for _ in 0..3 {
        assert_eq!(name_of(&proxy.connect("main")), 1);
    }
    assert_eq!(connections(&proxy, &address(&primary)), 1.0, "it goes on");
    assert_eq!(drained.accepted(), 0);
}

fn another_upstream_stands_in(scheduler: Scheduler) {
    let (own, other) = (named(0), named(1));
    let (dead, alone) = (peer::refusing(), peer::refusing());
    let last = to("last", &[format!("\"{}\"", other.address())], "");
    let between = to("between", &[format!("\"{dead}\"")], "fallback = \"last\"");
    let full = to(
        "full",
        &[with(&own, "max_connections = 1")],
        "fallback = \"between\"",
    );
    let main = to("main", &[format!("\"{alone}\"")], "fallback = \"between\"");
    let proxy = Proxy::start(scheduler, &[full, main, between, last].concat());
    let held = proxy.connect("full");
    assert_eq!(name_of(&held), 0);
    let second = proxy.connect("full");
    assert_eq!(name_of(&second), 1, "of the fallback's fallback");
    let third = proxy.connect("main");
    assert_eq!(name_of(&third), 1);
    // They are counted where they are served, and nobody waits anywhere.
    assert_eq!(connections(&proxy, &address(&other)), 2.0);
    let metrics = proxy.metrics();
    for upstream in ["full", "main", "between", "last"] {
        let waiting = metrics.get("corelane_upstream_queue", &[("upstream", upstream)]);
        assert_eq!(waiting, 0.0, "{upstream}");
    }
    drop((held, second, third));
    wait::until("their ends are known", || {
        connections(&proxy, &address(&other)) == 0.0
    });
}

fn all_down_is_refused_if_that_is_asked_for(scheduler: Scheduler) {
    let dead = peer::refusing().to_string();
    let checks = "[upstreams.main.health]\ninterval = \"100ms\"\nfall = 1\n";
    let routes = route(
        "main",
        "127.0.0.1:0",
        &[&dead],
        "",
        &format!("when_all_down = \"refuse\"\n{checks}"),
    );
    let proxy = Proxy::start(scheduler, &routes);
    wait::until("it is down", || {
        proxy.metric("corelane_upstream_up", &[]) == 0.0
    });
    let failures = || {
        proxy.metric(
            "corelane_upstream_connect_failures_total",
            &[("server", &dead)],
        )
    };
    let before = failures();
    assert_closed_unanswered(proxy.connect("main"));
    wait::until("it is counted", || {
        refused(&proxy, "main", "servers_down") == 1.0
    });
    assert_eq!(failures(), before, "nobody was tried");
}

fn policies_weights_and_schedulers_change_while_connections_run(scheduler: Scheduler) {
    let servers = [named(0), named(1), named(2)];
    let text = |on: Scheduler, policy: &str, weights: [u16; 3]| {
        let written: Vec<_> = servers
            .iter()
            .zip(weights)
            .map(|(server, weight)| with(server, &format!("weight = {weight}")))
            .collect();
        let routes = to("main", &written, &format!("balance = \"{policy}\""));
        change::text(on, 2, "", &routes)
    };
    let proxy = Proxy::start_file(&text(scheduler, "round-robin", [1, 1, 2]));
    let mut held: Vec<_> = (0..8).map(|_| proxy.connect("main")).collect();
    assert_eq!(counts(&held), BTreeMap::from([(0, 2), (1, 2), (2, 4)]));
    // What round robin dealt is made even: 2 2 4 and 7 more are 5 5 5.
    change::reload(&proxy, &text(scheduler, "least-connections", [1, 1, 1]));
    held.extend((0..7).map(|_| proxy.connect("main")));
    assert_eq!(counts(&held[8..]), BTreeMap::from([(0, 3), (1, 3), (2, 1)]));
    let other = match scheduler {
        Scheduler::WorkStealing => Scheduler::PerCore,
        _ => Scheduler::WorkStealing,
    };
    change::switch(&proxy, &text(other, "least-connections", [1, 2, 2]));
    held.extend((0..10).map(|_| proxy.connect("main")));
    assert_eq!(
        counts(&held[15..]),
        BTreeMap::from([(1, 5), (2, 5)]),
        "5 10 10"
    );
    let now = || {
        servers
            .each_ref()
            .map(|server| connections(&proxy, &address(server)))
    };
    assert_eq!(now(), [5.0, 10.0, 10.0]);
    held.clear();
    wait::until("their ends are known", || now() == [0.0; 3]);
}
