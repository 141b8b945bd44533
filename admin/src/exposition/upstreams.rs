//! What each upstream and its servers do.

use std::sync::Arc;
use std::time::Instant;

use proxy_core::metrics::{CheckResult, ConnectFailure, ServerCells};
use proxy_core::{ClosingCell, EjectionCause, Server, ServerState, UpstreamView};

use super::family::Families;

/// Adds the families.
pub(super) fn collect(families: &mut Families, upstreams: &[UpstreamView], now: Instant) {
    let servers = || upstreams.iter().flat_map(|view| &view.servers);
    let mut up = families.gauge(
        "corelane_upstream_up",
        "Whether the server works, by its health checks, or else by the last connect to it: 1 or 0.",
    );
    // Of those that were removed nobody knows.
    for server in upstreams.iter().flat_map(|view| view.members()) {
        up.add(&labels(server), f64::from(u8::from(server.is_up())));
    }
    let mut state = families.gauge(
        "corelane_upstream_server_state",
        "1 for the state that the server is in, 0 for the others.",
    );
    for view in upstreams {
        let pool = view.pool.iter();
        let places =
            pool.flat_map(|pool| (0..pool.members().len()).map(move |place| (pool, place)));
        for (pool, place) in places {
            let state_now = pool.state(place, now);
            for one in ServerState::ALL {
                let [upstream, label] = labels(pool.server(place));
                let labels = [upstream, label, ("state", one.label())];
                state.add(&labels, f64::from(u8::from(one == state_now)));
            }
        }
    }
    let mut weight = families.gauge(
        "corelane_upstream_server_weight",
        "The weight of the server that is in force, by its agent and by slow start, too.",
    );
    for view in upstreams {
        let pool = view.pool.iter();
        let places =
            pool.flat_map(|pool| (0..pool.members().len()).map(move |place| (pool, place)));
        for (pool, place) in places {
            weight.add(
                &labels(pool.server(place)),
                pool.weight_in_force(place, now),
            );
        }
    }
    let mut connections = families.gauge(
        "corelane_upstream_connections",
        "Connections to the server now, connects under way included.",
    );
    for server in servers() {
        connections.add_count(&labels(server), server.connections());
    }
    let mut queue = families.gauge(
        "corelane_upstream_queue",
        "Connections that were accepted and wait for a server to answer.",
    );
    for UpstreamView { upstream, .. } in upstreams {
        queue.add_count(&[("upstream", &upstream.name)], upstream.queue());
    }
    let mut slot_queue = families.gauge(
        "corelane_upstream_slot_queue",
        "Connections that wait for a place now, as all servers are full.",
    );
    for UpstreamView { upstream, .. } in upstreams {
        slot_queue.add_count(&[("upstream", &upstream.name)], upstream.slot_queue());
    }
    let mut slot_waits = families.histogram(
        "corelane_upstream_slot_queue_seconds",
        "How long connections waited for a place, as all servers were full, in seconds, however that ended.",
    );
    for UpstreamView { upstream, .. } in upstreams {
        let labels = [("upstream", upstream.name.as_str())];
        slot_waits.add_histogram(&labels, &upstream.cells, |cells| &cells.slot_waits);
    }
    let mut bytes = families.counter(
        "corelane_upstream_bytes_total",
        "Bytes forwarded, counted while connections run; direction \"in\" is from clients to the server, \"out\" from it.",
    );
    for server in servers() {
        let sum = |read: fn(&ServerCells) -> u64| server.cells.sum(read);
        for (direction, count) in [
            ("in", sum(|cells| cells.bytes_in.get())),
            ("out", sum(|cells| cells.bytes_out.get())),
        ] {
            let [upstream, label] = labels(server);
            bytes.add_count(&[upstream, label, ("direction", direction)], count);
        }
    }
    let mut retries = families.counter(
        "corelane_upstream_retries_total",
        "Connects to another server or address, after one had failed.",
    );
    for UpstreamView { upstream, .. } in upstreams {
        let count = upstream.cells.sum(|cells| cells.retries.get());
        retries.add_count(&[("upstream", &upstream.name)], count);
    }
    let mut refused = families.counter(
        "corelane_upstream_retries_refused_total",
        "Connects to another server or address that were not made, as the budget for them was spent.",
    );
    for view in upstreams.iter().filter(|view| has_budget(view)) {
        let count = view.upstream.cells.sum(|cells| cells.retries_refused.get());
        refused.add_count(&[("upstream", &view.upstream.name)], count);
    }
    let mut connect = families.histogram(
        "corelane_upstream_connect_seconds",
        "How long connects took that worked, in seconds.",
    );
    for UpstreamView { upstream, .. } in upstreams {
        let labels = [("upstream", upstream.name.as_str())];
        connect.add_histogram(&labels, &upstream.cells, |cells| &cells.connect);
    }
    let mut failures = families.counter(
        "corelane_upstream_connect_failures_total",
        "Connects that failed, by reason.",
    );
    let with_view = upstreams
        .iter()
        .flat_map(|view| view.servers.iter().map(move |server| (view, server)));
    for (view, server) in with_view {
        for reason in ConnectFailure::of_connects() {
            if reason == ConnectFailure::Closed && !has_budget(view) {
                continue;
            }
            let [upstream, label] = labels(server);
            let read = |cells: &ServerCells| cells.failures[reason as usize].get();
            let labels = [upstream, label, ("reason", reason.label())];
            failures.add_count(&labels, server.cells.sum(read));
        }
    }
    collect_closing(families, upstreams);
    collect_checks(families, upstreams);
    collect_ejections(families, upstreams, now);
}

/// Adds what is left of connections that may not stay, of the servers whose connections end.
fn collect_closing(families: &mut Families, upstreams: &[UpstreamView]) {
    let mut closing = families.gauge(
        "corelane_upstream_closing_connections",
        "Connections to a server of which the connections are being ended, by what ends them.",
    );
    for server in upstreams.iter().flat_map(|view| &view.servers) {
        let each: [(&str, &ClosingCell); 2] = [
            ("on_down", &server.on_down),
            ("on_removed", &server.on_removed),
        ];
        for (fate, _) in each.into_iter().filter(|(_, cell)| cell.is_set()) {
            let [upstream, label] = labels(server);
            let labels = [upstream, label, ("fate", fate)];
            closing.add_count(&labels, server.connections());
        }
    }
}

/// Adds what checks came to, of the upstreams that have some.
fn collect_checks(families: &mut Families, upstreams: &[UpstreamView]) {
    let mut checks = families.counter(
        "corelane_upstream_health_checks_total",
        "Health checks, by what they came to: \"passed\", or why they failed.",
    );
    let checked = || {
        let checked = upstreams.iter().filter(|view| view.is_checked());
        checked.flat_map(|view| &view.servers)
    };
    for server in checked() {
        for result in CheckResult::all() {
            let [upstream, label] = labels(server);
            let labels = [upstream, label, ("result", result.label())];
            checks.add_count(&labels, server.checks.of(result).get());
        }
    }
    let mut took = families.gauge(
        "corelane_upstream_health_check_duration_seconds",
        "How long the last health check of the server took, in seconds, whatever it came to.",
    );
    for server in checked() {
        if let Some(duration) = server.checks.took() {
            took.add(&labels(server), duration.as_secs_f64());
        }
    }
    let mut agents = families.counter(
        "corelane_upstream_agent_checks_total",
        "Times that the server's agent was asked, by what that came to: \"passed\" where it answered, or why not.",
    );
    // Most upstreams have none.
    let asked = |server: &&Arc<Server>| {
        CheckResult::all().any(|result| server.agent_checks().of(result).get() > 0)
    };
    let servers = upstreams.iter().flat_map(|view| &view.servers);
    for server in servers.filter(asked) {
        for result in CheckResult::all() {
            let [upstream, label] = labels(server);
            let labels = [upstream, label, ("result", result.label())];
            agents.add_count(&labels, server.agent_checks().of(result).get());
        }
    }
    let mut expiry = families.gauge(
        "corelane_upstream_certificate_expiry_timestamp_seconds",
        "When the certificate expires that the server showed to its last check of TLS, in seconds since 1970.",
    );
    for server in checked() {
        if let Some(seconds) = server.checks.certificate_expiry() {
            expiry.add_count(&labels(server), seconds);
        }
    }
}

/// Adds what is ejected, of the upstreams that eject servers.
fn collect_ejections(families: &mut Families, upstreams: &[UpstreamView], now: Instant) {
    let pools = || {
        let pools = upstreams
            .iter()
            .filter_map(|view| Some((view, view.pool.as_ref()?)));
        pools.filter(|(_, pool)| pool.ejection().is_some())
    };
    let mut each = |name, help, read: fn(&Server, EjectionCause) -> u64| {
        let mut family = families.counter(name, help);
        for server in pools().flat_map(|(view, _)| &view.servers) {
            for cause in EjectionCause::ALL {
                let [upstream, label] = labels(server);
                let labels = [upstream, label, ("cause", cause.label())];
                family.add_count(&labels, read(server, cause));
            }
        }
    };
    each(
        "corelane_upstream_ejections_total",
        "Times that the server was ejected, by what connections to it met.",
        Server::ejections,
    );
    each(
        "corelane_upstream_ejections_spared_total",
        "Times that the server was not ejected, because as many were as the largest share allows.",
        Server::spared_ejections,
    );
    let mut panic = families.gauge(
        "corelane_upstream_panic",
        "1 while so few servers are available that who is ejected is tried like the others, else 0.",
    );
    for (view, pool) in pools() {
        let labels = [("upstream", view.upstream.name.as_str())];
        panic.add(&labels, f64::from(u8::from(pool.is_panic(now))));
    }
}

/// Whether there is a budget for retries: only there some things are counted.
fn has_budget(view: &UpstreamView) -> bool {
    let mut pools = view.pool.iter();
    pools.any(|pool| pool.settings().retry_budget.is_some())
}

fn labels(server: &Server) -> [(&str, &str); 2] {
    [("upstream", &server.upstream), ("server", &server.label)]
}
