//! Which server a connection goes to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::bytes::{digest, pattern, receive};
use crate::harness::config::{forward, forward_with};
use crate::harness::peer::{self, Server, Service};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    round_robin,
    weights,
    least_connections,
    retries_leave_the_turns_alone,
    builtin_echo
);

/// A server that says its name and then waits for the client to go.
pub(crate) fn named(name: u8) -> Service {
    Server::bind().serve(move |mut stream| {
        let _ = stream.write_all(&[name]);
        let _ = stream.read(&mut [0; 1]);
    })
}

pub(crate) fn name_of(mut client: &TcpStream) -> u8 {
    let mut name = [0; 1];
    client.read_exact(&mut name).expect("the server's name");
    name[0]
}

/// How often each server answers, one connection after the other.
fn count(proxy: &Proxy, connections: usize) -> HashMap<u8, usize> {
    let mut counts = HashMap::new();
    for _ in 0..connections {
        *counts.entry(name_of(&proxy.connect("main"))).or_default() += 1;
    }
    counts
}

fn round_robin(scheduler: Scheduler) {
    let servers =
        [named(0), named(1), named(2)].map(|server| (server.address().to_string(), server));
    let addresses = servers.each_ref().map(|(address, _)| address.as_str());
    let proxy = Proxy::start(
        scheduler,
        &forward_with(&addresses, "", "balance = \"round-robin\""),
    );
    let counts = count(&proxy, 300);
    // Each worker goes round by itself, so the sum may be off by one a worker and server.
    assert!(
        (0..3).all(|name| counts[&name].abs_diff(100) <= 4),
        "{counts:?}"
    );
}

fn weights(scheduler: Scheduler) {
    let (heavy, light) = (named(0), named(1));
    let routes = format!(
        "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n\
         [upstreams.main]\nbalance = \"round-robin\"\n\
         servers = [{{ address = \"{}\", weight = 3 }}, \"{}\"]\n",
        heavy.address(),
        light.address()
    );
    let proxy = Proxy::start(scheduler, &routes);
    let counts = count(&proxy, 400);
    assert!(counts[&0].abs_diff(300) <= 8, "3 to 1: {counts:?}");
}

fn least_connections(scheduler: Scheduler) {
    let servers =
        [named(0), named(1), named(2)].map(|server| (server.address().to_string(), server));
    let addresses = servers.each_ref().map(|(address, _)| address.as_str());
    let config = forward_with(&addresses, "", "balance = \"least-connections\"");
    let proxy = Proxy::start(scheduler, &config);
    let mut held: HashMap<u8, Vec<TcpStream>> = HashMap::new();
    for _ in 0..30 {
        let client = proxy.connect("main");
        held.entry(name_of(&client)).or_default().push(client);
    }
    let counts = [0, 1, 2].map(|name| held.get(&name).map_or(0, Vec::len));
    assert!(
        counts.iter().all(|count| count.abs_diff(10) <= 2),
        "{counts:?}"
    );

    // Server 2 loses all of its connections, so the next ones go there.
    held.remove(&2);
    wait::until("the proxy knows that they are gone", || {
        let server = [("server", addresses[2])];
        proxy.metric("corelane_upstream_connections", &server) == 0.0
    });
    let clients: Vec<_> = (0..6).map(|_| proxy.connect("main")).collect();
    let names: Vec<_> = clients.iter().map(name_of).collect();
    assert!(
        names.iter().filter(|name| **name == 2).count() >= 5,
        "{names:?}"
    );
}

/// With checks it is they that say who is down. These notice nothing, so each connection has its turn, and one of two begins
/// with the server that is dead.
fn retries_leave_the_turns_alone(scheduler: Scheduler) {
    const CONNECTIONS: u32 = 20;
    const HEALTH: &str = "[upstreams.main.health]\ninterval = \"1h\"\nfall = 10\n";
    let (dead, live) = (peer::refusing().to_string(), named(1));
    for balance in ["round-robin", "least-connections"] {
        let upstream = format!("balance = \"{balance}\"\n{HEALTH}");
        let servers = [dead.as_str(), &live.address().to_string()];
        let proxy = Proxy::start(scheduler, &forward_with(&servers, "", &upstream));
        for _ in 0..CONNECTIONS {
            assert_eq!(name_of(&proxy.connect("main")), 1);
            wait::until("it has ended", || {
                proxy.metric("corelane_upstream_connections", &[]) == 0.0
            });
        }
        let failures = [("server", dead.as_str())];
        assert_eq!(
            proxy.metric("corelane_upstream_connect_failures_total", &failures),
            f64::from(CONNECTIONS / 2),
            "{balance}"
        );
    }
}

fn builtin_echo(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo"]));
    let bytes = pattern(7, 3_000_000);
    let mut client = proxy.connect("main");
    let mut sender = client.try_clone().expect("dup");
    let sent = digest(&bytes);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(&bytes).expect("send");
            sender
                .shutdown(std::net::Shutdown::Write)
                .expect("shutdown");
        });
        assert_eq!(receive(&mut client), sent);
    });
}
