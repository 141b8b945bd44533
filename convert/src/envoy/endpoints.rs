//! The endpoints of a cluster: servers.

use super::super::note::Notes;
use super::super::plan::{Server, Upstream};
use super::super::tree::View;
use super::values::{address, number};

/// The largest weight of the configuration.
const WEIGHT_MAX: u64 = 256;

pub(super) fn servers(view: &View<'_>, kind: &str, upstream: &mut Upstream, notes: &mut Notes) {
    let Some(assignment) = view.view("load_assignment") else {
        return;
    };
    let localities = assignment.items_of("endpoints");
    let endpoints: Vec<_> = localities
        .iter()
        .flat_map(|locality| {
            let priority = locality
                .view("priority")
                .and_then(|priority| number(&priority))
                .unwrap_or_default();
            let endpoints = locality.items_of("lb_endpoints").into_iter();
            endpoints
                .map(move |endpoint| (endpoint, priority))
                .collect::<Vec<_>>()
        })
        .collect();
    for locality in &localities {
        if locality.view("load_balancing_weight").is_some() && localities.len() > 1 {
            notes.lose(
                &locality.from(),
                "localities have no weights of their own; write them at the servers",
            );
        }
    }
    let first = endpoints
        .iter()
        .map(|(_, priority)| *priority)
        .min()
        .unwrap_or_default();
    let weight = |endpoint: &View<'_>| {
        endpoint
            .view("load_balancing_weight")
            .and_then(|weight| number(&weight))
    };
    let largest = endpoints
        .iter()
        .filter_map(|(endpoint, _)| weight(endpoint))
        .max()
        .unwrap_or(1);
    let shared = endpoints
        .iter()
        .map(|(endpoint, _)| weight(endpoint).unwrap_or(1))
        .fold(0, common);
    let scale = shared.max(largest.div_ceil(WEIGHT_MAX)).max(1);
    for (endpoint, priority) in &endpoints {
        let from = endpoint.from();
        let place = endpoint.at(&["endpoint", "address"]);
        let address = match place.as_ref().map(address) {
            Some(Ok(address)) => address,
            Some(Err(why)) => {
                notes.lose(&from, why);
                continue;
            }
            None => {
                notes.lose(&from, "it has no address");
                continue;
            }
        };
        let from = place
            .and_then(|place| place.at(&["socket_address", "address"]))
            .map_or(from, |host| host.from());
        let is_name =
            !address.starts_with("unix:") && address.parse::<std::net::SocketAddr>().is_err();
        if kind.eq_ignore_ascii_case("STRICT_DNS") && is_name && endpoints.len() == 1 {
            // Each address of the name is a server, as in Envoy.
            upstream
                .table("discovery", &from)
                .set("dns", address, &from);
            continue;
        }
        let mut server = Server::new(address, &from);
        if let Some(weight) = weight(endpoint).filter(|_| largest > 1) {
            server.set("weight", (weight / scale).max(1));
        }
        if *priority > first {
            server.set("backup", true);
            let why = "it has clients only when no server of a lower priority is left; Envoy sends it some of them when fewer than 72% of those are healthy";
            notes.remark(&from, why);
            if *priority > first + 1 {
                notes.lose(&from, "there is one priority of backups; write an upstream for the next one, and lead to it by `fallback`");
            }
        }
        let port = endpoint.at(&["endpoint", "health_check_config", "port_value"]);
        if let Some(port) = port.and_then(|port| number(&port)) {
            server.set("check_port", port);
        }
        let check = endpoint.at(&["endpoint", "health_check_config"]);
        for name in ["address", "disable_active_health_check"] {
            if let Some(other) = check.as_ref().and_then(|check| check.view(name)) {
                let why = "a server is checked at its own address (`check_port`), and all of an upstream are";
                notes.lose(&other.from(), why);
            }
        }
        let status = endpoint.text_of("health_status").unwrap_or_default();
        if ["UNHEALTHY", "DRAINING", "TIMEOUT"]
            .iter()
            .any(|down| down.eq_ignore_ascii_case(status))
        {
            server.set("weight", 0_u64);
        }
        upstream.servers.push(server);
    }
}

/// The greatest common divisor.
fn common(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}
