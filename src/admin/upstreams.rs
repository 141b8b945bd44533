//! What each upstream and its servers do.

use std::sync::Arc;

use proxy_core::Upstream;
use proxy_core::metrics::ConnectFailure;

use super::family::Families;

/// Adds the families.
pub(super) fn collect(families: &mut Families, upstreams: &[Arc<Upstream>]) {
    let mut up = families.gauge(
        "corelane_upstream_up",
        "Whether the server is believed to work: 1 or 0.",
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
}
