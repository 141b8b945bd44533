//! A listener, as it is written.

use super::socket::socket_options;
use super::text::{duration, list, or_off, quoted, table};
use crate::sections::admission::Admission;
use crate::sections::listener::Listener;
use crate::sections::proxy_protocol::AcceptProxy;
use crate::sections::socket::ListenerOptions;
use crate::sections::times::Times;

pub(super) fn write(text: &mut String, listener: &Listener, upstream: Option<&str>) {
    let binds: Vec<_> = listener.binds.iter().map(quoted).collect();
    let mut values = vec![("bind", format!("[{}]", binds.join(", ")))];
    values.extend(upstream.map(|upstream| ("upstream", quoted(upstream))));
    values.push(("not_tls", quoted(listener.not_tls)));
    values.extend(
        listener
            .starttls
            .map(|protocol| ("starttls", quoted(protocol))),
    );
    values.extend(socket_options(&listener.options.socket));
    values.extend(listener_options(&listener.options));
    values.extend(admission(&listener.admission));
    values.extend(accept_proxy(listener.accept_proxy.as_ref()));
    values.extend([
        ("prologue_timeout", duration(listener.prologue_timeout)),
        ("shares", listener.shares.to_string()),
    ]);
    values.extend(
        listener
            .latency
            .map(|latency| ("latency", duration(latency))),
    );
    values.extend(
        listener
            .max_connections
            .map(|max| ("max_connections", max.to_string())),
    );
    values.extend(times(&listener.times));
    values.extend([
        ("backlog", listener.backlog.to_string()),
        ("splice", listener.splice.to_string()),
    ]);
    table(
        text,
        &format!("[listeners.{}]", quoted(&listener.name)),
        &values,
    );
}

fn admission(admission: &Admission) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    for (key, entries) in [
        ("allow", &admission.allow),
        ("deny", &admission.deny),
        ("allow_peer", &admission.allow_peer),
        ("deny_peer", &admission.deny_peer),
    ] {
        if !entries.is_empty() {
            values.push((key, list(entries)));
        }
    }
    for (key, limit) in [
        (
            "max_connections_per_source",
            admission.max_connections_per_source,
        ),
        ("max_headers_per_peer", admission.max_headers_per_peer),
        ("max_rate", admission.max_rate),
        ("burst", admission.burst),
        ("max_rate_per_source", admission.max_rate_per_source),
        ("burst_per_source", admission.burst_per_source),
    ] {
        values.extend(limit.map(|limit| (key, limit.to_string())));
    }
    for (key, limit) in [
        ("bandwidth", admission.bandwidth),
        (
            "bandwidth_per_connection",
            admission.bandwidth_per_connection,
        ),
    ] {
        values.extend(limit.map(|limit| (key, quoted(limit))));
    }
    values.extend([
        ("source_prefix", admission.source_prefix.to_string()),
        ("over_limit", quoted(admission.over_limit)),
    ]);
    values
}

fn accept_proxy(accept: Option<&AcceptProxy>) -> Vec<(&'static str, String)> {
    const KEY: &str = "accept_proxy_protocol";
    let Some(accept) = accept else {
        return vec![(KEY, false.to_string())];
    };
    let mut values = vec![(KEY, quoted(accept.expected))];
    if let Some(trusted) = &accept.trusted {
        values.push(("trusted", list(trusted)));
    }
    values.push(("untrusted", quoted(accept.untrusted)));
    values
}

fn listener_options(options: &ListenerOptions) -> Vec<(&'static str, String)> {
    let fast_open = options
        .fast_open
        .map(|length| ("fast_open", length.to_string()));
    let defer_accept = options
        .defer_accept
        .map(|time| ("defer_accept", quoted(time)));
    let transparent = ("transparent", options.transparent.to_string());
    let written = fast_open.into_iter().chain(defer_accept);
    written.chain([transparent]).collect()
}

fn times(times: &Times) -> [(&'static str, String); 6] {
    [
        ("idle_timeout", or_off(times.idle)),
        ("client_idle_timeout", or_off(times.client_idle)),
        ("server_idle_timeout", or_off(times.server_idle)),
        ("half_closed_timeout", or_off(times.half_closed)),
        ("max_lifetime", or_off(times.max_lifetime)),
        ("lifetime_jitter", quoted(times.lifetime_jitter)),
    ]
}
