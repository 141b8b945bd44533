//! How many series there are depends on the configuration, and on no client.

use std::io::{Read, Write};
use std::net::Ipv4Addr;

use crate::harness::config::forward;
use crate::harness::metrics::Metrics;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(clients_make_none);

const CONNECTIONS: usize = 1_000;

/// Connections that are open at a time.
const AT_ONCE: usize = 100;

/// Addresses that clients come from, each several times.
const ADDRESSES: usize = 250;

/// What these begin with; nothing else is there.
const NETWORK: &str = "127.9.8.";

fn address(connection: usize) -> Ipv4Addr {
    let host = 1 + connection % ADDRESSES;
    format!("{NETWORK}{host}").parse().expect("an address")
}

fn clients_make_none(scheduler: Scheduler) {
    // Every other connection fails at first, and is tried again.
    let refusing = peer::refusing().to_string();
    let proxy = Proxy::start(scheduler, &forward(&["builtin:echo", &refusing]));
    let before = proxy.metrics();
    let connections: Vec<_> = (0..CONNECTIONS).collect();
    for batch in connections.chunks(AT_ONCE) {
        let clients: Vec<_> = batch
            .iter()
            .map(|&connection| {
                let address = address(connection);
                let mut client = peer::connect_from(address, proxy.address("main"));
                client.write_all(b"?").expect("send");
                client.read_exact(&mut [0; 1]).expect("an answer");
                client
            })
            .collect();
        assert_same(&before, &proxy.metrics());
        drop(clients);
    }
    let after = proxy.metrics();
    assert_same(&before, &after);
    assert_eq!(
        after.get("corelane_listener_connections_total", &[]),
        CONNECTIONS as f64
    );
}

fn assert_same(before: &Metrics, now: &Metrics) {
    let (was, is) = (before.all(), now.all());
    let new: Vec<_> = is.keys().filter(|name| !was.contains_key(*name)).collect();
    let gone: Vec<_> = was.keys().filter(|name| !is.contains_key(*name)).collect();
    assert!(new.is_empty() && gone.is_empty(), "{new:?}, {gone:?} gone");
    assert!(!now.text().contains(NETWORK), "a client's address");
}
