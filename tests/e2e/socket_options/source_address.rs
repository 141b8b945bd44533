//! From which address servers are connected to: one of the machine's, or the client's.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::reload;
use crate::harness::config::forward_with;
use crate::harness::peer::{self, Server};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::haproxy::Haproxy;

each_scheduler!(
    servers_are_connected_to_from_an_address,
    servers_are_connected_to_from_the_clients_address,
    for_a_client_with_nobodys_address_no_server_is_connected_to,
);

/// From where the server was connected to.
fn source(proxy: &Proxy, server: &Server, client: Ipv4Addr) -> Ipv4Addr {
    let client = peer::connect_from(client, proxy.address("main"));
    let from = server.accept().peer_addr().expect("an address");
    drop(client);
    match from {
        SocketAddr::V4(from) => *from.ip(),
        SocketAddr::V6(from) => panic!("{from}"),
    }
}

fn servers_are_connected_to_from_an_address(scheduler: Scheduler) {
    let server = Server::bind();
    let address = server.address().to_string();
    let with = |source: &str| {
        let line = format!("source_address = \"{source}\"");
        forward_with(&[&address], "", &line)
    };
    let proxy = Proxy::start(scheduler, &with("127.0.0.5"));
    let client = Ipv4Addr::new(127, 0, 0, 9);
    assert_eq!(source(&proxy, &server, client).octets(), [127, 0, 0, 5]);
    reload(&proxy, scheduler, &with("127.0.0.6"));
    assert_eq!(source(&proxy, &server, client).octets(), [127, 0, 0, 6]);
}

fn servers_are_connected_to_from_the_clients_address(scheduler: Scheduler) {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: it needs CAP_NET_ADMIN");
    }
    let server = Server::bind();
    let address = server.address().to_string();
    let routes = forward_with(&[&address], "", "source_address = \"client\"");
    let proxy = Proxy::start(scheduler, &routes);
    for host in [9, 10] {
        let client = Ipv4Addr::new(127, 0, 0, host);
        assert_eq!(source(&proxy, &server, client), client);
    }
}

/// HAProxy announces clients whose addresses nobody has, or that are of another family than the server: they are refused, and the
/// server is not to blame. A port that nobody has is no matter, as the kernel chooses one.
fn for_a_client_with_nobodys_address_no_server_is_connected_to(scheduler: Scheduler) {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: it needs CAP_NET_ADMIN");
    }
    const CLIENTS: [&str; 6] = [
        "127.0.0.9",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "2001:db8::7",
        "ff02::1",
    ];
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let sees = seen.clone();
    let server = Server::bind().serve(move |mut client| {
        if let Ok(from) = client.peer_addr() {
            sees.lock().expect("nobody panics").insert(from.ip());
            let _ = write!(client, "{}", from.ip());
        }
    });
    let upstream =
        "source_address = \"client\"\n[upstreams.main.ejection]\nconsecutive_failures = 1";
    let accept = "accept_proxy_protocol = true";
    let routes = forward_with(&[&server.address().to_string()], accept, upstream);
    let proxy = Proxy::start(scheduler, &routes);
    let to = proxy.address("main");
    let front = Haproxy::start(CLIENTS.len(), |addresses| {
        let frontends = CLIENTS.iter().zip(addresses);
        let sections = frontends.enumerate().map(|(number, (client, address))| {
            format!(
                "listen l{number}\n    bind {address}\n    tcp-request connection set-src str({client})\n    \
                 tcp-request connection set-src-port int(0)\n    server s {to} send-proxy-v2\n"
            )
        });
        sections.collect()
    });
    let failures = || {
        let labels = [("reason", "local")];
        proxy.metric("corelane_upstream_connect_failures_total", &labels)
    };
    for (client, address) in CLIENTS.iter().zip(&front.addresses).skip(1) {
        let before = failures();
        peer::assert_closed_unanswered(peer::connect(*address));
        wait::until(client, || failures() > before);
    }
    let mut from = String::new();
    let mut client = peer::connect(front.addresses[0]);
    client.read_to_string(&mut from).expect("receive");
    assert_eq!(from, CLIENTS[0]);
    assert_eq!(seen.lock().expect("nobody panics").len(), 1);
    let labels = [("state", "ejected")];
    assert_eq!(proxy.metric("corelane_upstream_server_state", &labels), 0.0);
    proxy.logs("as source_address = \"client\" says");
    proxy.stop();
}
