//! What each upstream and its servers do.

use std::sync::Arc;

use proxy_core::Upstream;
use proxy_core::metrics::{CheckResult, ConnectFailure, ServerCells};

use super::family::Families;

/// Adds the families.
pub(super) fn collect(families: &mut Families, upstreams: &[Arc<Upstream>]) {
    let mut up = families.gauge(
        "corelane_upstream_up",
        "Whether the server works, by its health checks, or else by the last connect to it: 1 or 0.",
    );
    for upstream in upstreams {
        for server in upstream.servers() {
            let labels = [
                ("upstream", upstream.name.as_str()),
                ("server", &server.label),
            ];
            up.add(&labels, f64::from(u8::from(server.is_up())));
        }
    }
    let mut connections = families.gauge(
        "corelane_upstream_connections",
        "Connections to the server now, connects under way included.",
    );
    for upstream in upstreams {
        for (index, server) in upstream.servers().iter().enumerate() {
            let labels = [
                ("upstream", upstream.name.as_str()),
                ("server", &server.label),
            ];
            connections.add_count(&labels, upstream.connections(index));
        }
    }
    let mut queue = families.gauge(
        "corelane_upstream_queue",
        "Connections that were accepted and wait for a server to answer.",
    );
    for upstream in upstreams {
        queue.add_count(&[("upstream", &upstream.name)], upstream.queue());
    }
    let mut bytes = families.counter(
        "corelane_upstream_bytes_total",
        "Bytes forwarded, counted while connections run; direction \"in\" is from clients to the server, \"out\" from it.",
    );
    for upstream in upstreams {
        for (index, server) in upstream.servers().iter().enumerate() {
            let sum = |read: fn(&ServerCells) -> u64| {
                upstream.cells.sum(|cells| read(&cells.servers[index]))
            };
            for (direction, count) in [
                ("in", sum(|cells| cells.bytes_in.get())),
                ("out", sum(|cells| cells.bytes_out.get())),
            ] {
                let labels = [
                    ("upstream", upstream.name.as_str()),
                    ("server", &server.label),
                    ("direction", direction),
                ];
                bytes.add_count(&labels, count);
            }
        }
    }
    let mut retries = families.counter(
        "corelane_upstream_retries_total",
        "Connects to another server or address, after one had failed.",
    );
    for upstream in upstreams {
        let count = upstream.cells.sum(|cells| cells.retries.get());
        retries.add_count(&[("upstream", &upstream.name)], count);
    }
    let mut connect = families.histogram(
        "corelane_upstream_connect_seconds",
        "How long connects took that worked, in seconds.",
    );
    for upstream in upstreams {
        let labels = [("upstream", upstream.name.as_str())];
        connect.add_histogram(&labels, &upstream.cells, |cells| &cells.connect);
    }
    let mut failures = families.counter(
        "corelane_upstream_connect_failures_total",
        "Connects that failed, by reason.",
    );
    for upstream in upstreams {
        for (index, server) in upstream.servers().iter().enumerate() {
            for reason in ConnectFailure::ALL {
                let labels = [
                    ("upstream", upstream.name.as_str()),
                    ("server", &server.label),
                    ("reason", reason.label()),
                ];
                let read = |count: &proxy_core::metrics::UpstreamCells| {
                    count.servers[index].failures[reason as usize].get()
                };
                failures.add_count(&labels, upstream.cells.sum(read));
            }
        }
    }
    collect_checks(families, upstreams);
}

/// Adds what checks came to, of the upstreams that have some.
fn collect_checks(families: &mut Families, upstreams: &[Arc<Upstream>]) {
    let mut checks = families.counter(
        "corelane_upstream_health_checks_total",
        "Health checks, by what they came to: \"passed\", or why they failed.",
    );
    for upstream in upstreams {
        let Some(cells) = &upstream.checks else {
            continue;
        };
        for (server, cells) in upstream.servers().iter().zip(cells) {
            for result in CheckResult::all() {
                let labels = [
                    ("upstream", upstream.name.as_str()),
                    ("server", &server.label),
                    ("result", result.label()),
                ];
                checks.add_count(&labels, cells.of(result).get());
            }
        }
    }
}
