//! Options that what stands beside them has no use for.

use std::net::IpAddr;

use crate::problems::findings::Findings;
use crate::raw::node::Place;
use crate::sections::listener::Listener;
use crate::sections::socket::SourceAddress;
use crate::sections::upstream::{ConnectionFate, Upstream};
use crate::values::address::{BindAddress, ServerAddress};

/// Warns of options of TCP where there are unix sockets only.
pub(crate) fn of_listener(listener: &Listener, place: &Place, warnings: &Findings) {
    let is_unix = |bind: &BindAddress| matches!(bind, BindAddress::Unix(_));
    if !listener.binds.is_empty() && listener.binds.iter().all(is_unix) {
        warn(listener.options.keys(), place, warnings);
    }
}

/// The same of servers, and of what ends no connection; and reports a source address from which a server can't be connected to.
pub(crate) fn of_upstream(
    upstream: &Upstream,
    place: &Place,
    errors: &Findings,
    warnings: &Findings,
) {
    let is_unix = |address: &ServerAddress| matches!(address, ServerAddress::Unix(_));
    let mut servers = upstream.servers.iter().map(|server| &server.address);
    if !upstream.servers.is_empty() && servers.clone().all(is_unix) {
        warn(upstream.options.keys(), place, warnings);
    }
    warn_of_fate(upstream, place, warnings);
    let Some(SourceAddress::Address(source)) = upstream.options.source_address else {
        return;
    };
    let is_of_other_family = |address: &&ServerAddress| match address {
        ServerAddress::Socket(address) => {
            address.ip().to_canonical().is_ipv4() != matches!(source, IpAddr::V4(_))
        }
        _ => false,
    };
    if let Some(server) = servers.find(is_of_other_family) {
        let path = format!("{}.source_address", place.path);
        let message = format!(
            "`{path}` is \"{source}\", from which {server} can't be connected to: one is IPv4, the other IPv6; \
             put the servers of each family into an upstream of their own"
        );
        errors.add(place.at, Some(path), message);
    }
}

fn warn_of_fate(upstream: &Upstream, place: &Place, warnings: &Findings) {
    let ends_removed = upstream.on_removed != ConnectionFate::Keep;
    let ends_down = upstream.on_down != ConnectionFate::Keep;
    let warn = |key, why: &str| {
        let path = format!("{}.{key}", place.path);
        let message = format!("`{path}` does nothing: {why}");
        warnings.add(place.at, Some(path), message);
    };
    if ends_down && upstream.health.is_none() && upstream.agent.is_none() {
        let why = format!(
            "it is for servers whose health checks fail, and there are none; add a table [upstreams.{}.health], or remove it",
            upstream.name
        );
        warn("on_down", &why);
    }
    if upstream.close_over.is_some() && !ends_removed && !ends_down {
        let why = "no connection is ended; set `on_down` or `on_removed` beside it, or remove it";
        warn("close_over", why);
    }
}

fn warn(keys: impl Iterator<Item = &'static str>, place: &Place, warnings: &Findings) {
    for key in keys {
        let path = format!("{}.{key}", place.path);
        let message = format!(
            "`{path}` does nothing: it is an option of TCP, and all addresses are unix sockets; remove it"
        );
        warnings.add(place.at, Some(path), message);
    }
}
