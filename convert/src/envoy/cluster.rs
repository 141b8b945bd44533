//! A cluster: an upstream.

use super::super::names::Names;
use super::super::note::Notes;
use super::super::plan::Upstream;
use super::super::tree::View;
use super::super::value::Value;
use super::endpoints::servers;
use super::health;
use super::values::{duration, extension, number};
use super::{lose_others, values};

/// The limit where none is written, and what stands for none.
const MAX_CONNECTIONS: u64 = 1024;
const UNLIMITED: u64 = 1_000_000_000;

const READ: [&str; 19] = [
    "name",
    "type",
    "cluster_type",
    "connect_timeout",
    "lb_policy",
    "load_balancing_policy",
    "load_assignment",
    "circuit_breakers",
    "health_checks",
    "outlier_detection",
    "transport_socket",
    "transport_socket_matches",
    "close_connections_on_host_health_failure",
    "upstream_connection_options",
    "upstream_bind_config",
    "common_lb_config",
    "round_robin_lb_config",
    "least_request_lb_config",
    "eds_cluster_config",
];

/// They mean nothing here: buffers, HTTP, names of statistics, and how names are asked for.
const SILENT: [&str; 22] = [
    "alt_stat_name",
    "per_connection_buffer_limit_bytes",
    "max_requests_per_connection",
    "http_protocol_options",
    "http2_protocol_options",
    "typed_extension_protocol_options",
    "common_http_protocol_options",
    "metadata",
    "dns_lookup_family",
    "dns_refresh_rate",
    "dns_failure_refresh_rate",
    "respect_dns_ttl",
    "dns_resolvers",
    "dns_resolution_config",
    "typed_dns_resolver_config",
    "use_tcp_for_dns_lookups",
    "wait_for_warm_on_init",
    "cleanup_interval",
    "ring_hash_lb_config",
    "maglev_lb_config",
    "track_cluster_stats",
    "preconnect_policy",
];

/// The upstream of a cluster, or why there is none. `is_hashed`: a listener chooses its servers by the client's address.
pub(super) fn read(
    view: &View<'_>,
    is_hashed: bool,
    names: &mut Names,
    notes: &mut Notes,
) -> Result<Upstream, String> {
    let kind = view.text_of("type").unwrap_or("STATIC");
    let is_own = view.view("cluster_type").is_some();
    if is_own
        || !["STATIC", "STRICT_DNS", "LOGICAL_DNS"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(kind))
    {
        let kind = if is_own {
            "of its own (`cluster_type`)"
        } else {
            kind
        };
        return Err(format!(
            "its type is {kind}; servers are listed, or come from `[upstreams.NAME.discovery]`"
        ));
    }
    let mut upstream = Upstream::new(String::new(), &view.from());
    transport(view, &mut upstream)?;
    balance(view, is_hashed, &mut upstream, notes);
    servers(view, kind, &mut upstream, notes);
    if upstream.servers.is_empty() && upstream.tables.is_empty() {
        return Err("no server of it can be carried over".to_owned());
    }
    limits(view, &mut upstream, notes);
    health::set(view, &mut upstream, notes);
    options(view, &mut upstream, notes);
    lose_others(
        view,
        &READ,
        &SILENT,
        "corelane has nothing like it for an upstream",
        notes,
    );
    upstream.name = names.give(view.text_of("name").unwrap_or_default());
    Ok(upstream)
}

/// What stands between the connection and its bytes: a PROXY header, or TLS, which there is not.
fn transport(view: &View<'_>, upstream: &mut Upstream) -> Result<(), String> {
    let tls = "TLS to servers is not made here, and what clients say must not go in the clear";
    if view.view("transport_socket_matches").is_some() {
        return Err(tls.to_owned());
    }
    let Some(socket) = view.view("transport_socket") else {
        return Ok(());
    };
    let (kind, config) = extension(&socket);
    match kind.as_str() {
        "RawBuffer" => Ok(()),
        "ProxyProtocolUpstreamTransport" => {
            let inner = config
                .view("transport_socket")
                .map(|inner| extension(&inner).0);
            if inner.is_some_and(|inner| inner != "RawBuffer") {
                return Err(tls.to_owned());
            }
            let version = config
                .at(&["config", "version"])
                .and_then(|version| version.text());
            let version = version.unwrap_or("V1").to_ascii_lowercase();
            upstream
                .keys
                .set("send_proxy_protocol", version, &socket.from());
            Ok(())
        }
        "UpstreamTlsContext" | "tls" => Err(tls.to_owned()),
        _ => Err(format!("its transport socket {kind:?} is not known here")),
    }
}

fn balance(view: &View<'_>, is_hashed: bool, upstream: &mut Upstream, notes: &mut Notes) {
    let policy = view.at(&["load_balancing_policy", "policies"]);
    let policy = policy.and_then(|policies| policies.items().into_iter().next());
    let of_extension = policy.and_then(|policy| policy.view("typed_extension_config"));
    let (name, from) = match (&of_extension, view.view("lb_policy")) {
        (Some(extension), _) => (values::extension(extension).0, extension.from()),
        (None, Some(policy)) => (policy.text().unwrap_or_default().to_owned(), policy.from()),
        (None, None) => return,
    };
    let keys = &mut upstream.keys;
    match name.replace('_', "").to_ascii_lowercase().as_str() {
        "roundrobin" => keys.set("balance", "round-robin", &from),
        "leastrequest" => keys.set("balance", "random-two", &from),
        "random" => {
            keys.set("balance", "random-two", &from);
            notes.lose(
                &from,
                "of two servers that are drawn at random, the one with fewer connections is taken",
            );
        }
        "ringhash" | "maglev" if is_hashed => {
            keys.set("balance", "source-hash", &from);
            notes.remark(&from, "the same client goes to the same server, which may be another one than Envoy chooses");
        }
        "ringhash" | "maglev" => {
            keys.set("balance", "random-two", &from);
            notes.remark(
                &from,
                "without a `hash_policy` of `source_ip` in tcp_proxy, Envoy chooses at random",
            );
        }
        _ => notes.lose(
            &from,
            "corelane balances in turn, by connections, at random or by a hash",
        ),
    }
    let configs = ["round_robin_lb_config", "least_request_lb_config"];
    for config in configs.iter().filter_map(|name| view.view(name)) {
        let window = config.at(&["slow_start_config", "slow_start_window"]);
        if let Some((window, from)) =
            window.and_then(|window| Some((duration(&window)?, window.from())))
        {
            upstream.keys.set("slow_start", window, &from);
        }
    }
}

fn limits(view: &View<'_>, upstream: &mut Upstream, notes: &mut Notes) {
    let breakers = view.view("circuit_breakers");
    let of_default = |thresholds: &View<'_>| {
        thresholds
            .text_of("priority")
            .is_none_or(|name| name.eq_ignore_ascii_case("default"))
    };
    let thresholds = breakers
        .as_ref()
        .map_or_else(Vec::new, |breakers| breakers.items_of("thresholds"));
    let limit = thresholds
        .iter()
        .filter(|thresholds| of_default(thresholds))
        .find_map(|thresholds| thresholds.view("max_connections"));
    let (most, from) = match limit
        .as_ref()
        .and_then(|limit| Some((number(limit)?, limit.from())))
    {
        Some(limit) => limit,
        None => (
            MAX_CONNECTIONS,
            view.from().part("max_connections 1024 is Envoy's default"),
        ),
    };
    if most < UNLIMITED {
        upstream.keys.set("max_connections", most, &from);
    }
    let Some(breakers) = breakers else {
        return;
    };
    for limit in breakers
        .items_of("per_host_thresholds")
        .iter()
        .filter_map(|thresholds| thresholds.view("max_connections"))
    {
        match number(&limit) {
            Some(most) => upstream
                .servers
                .iter_mut()
                .for_each(|server| server.set("max_connections", most)),
            None => notes.lose(&limit.from(), "this is no number"),
        }
    }
}

fn options(view: &View<'_>, upstream: &mut Upstream, notes: &mut Notes) {
    let keys = &mut upstream.keys;
    let timeout = view.view("connect_timeout");
    match timeout
        .as_ref()
        .and_then(|timeout| Some((duration(timeout)?, timeout.from())))
    {
        Some((timeout, from)) => keys.set("connect_timeout", timeout, &from),
        None => {
            let from = view.from().part("connect_timeout 5s is Envoy's default");
            keys.set("connect_timeout", std::time::Duration::from_secs(5), &from);
        }
    }
    if let Some(close) = view
        .view("close_connections_on_host_health_failure")
        .filter(|close| close.text() == Some("true"))
    {
        keys.set("on_down", "close", &close.from());
    }
    if let Some(keepalive) = view.at(&["upstream_connection_options", "tcp_keepalive"]) {
        let mut table = Vec::new();
        for (name, key) in [
            ("keepalive_time", "idle"),
            ("keepalive_interval", "interval"),
            ("keepalive_probes", "count"),
        ] {
            let Some(number) = keepalive.view(name).and_then(|value| number(&value)) else {
                continue;
            };
            let value = match key {
                "count" => Value::from(number),
                _ => Value::from(std::time::Duration::from_secs(number)),
            };
            table.push((key, value));
        }
        if !table.is_empty() {
            keys.set("keepalive", Value::Table(table), &keepalive.from());
        }
    }
    if let Some(bind) = view.view("upstream_bind_config") {
        let source = bind.at(&["source_address", "address"]);
        match source.as_ref().and_then(|source| source.text()) {
            Some("0.0.0.0" | "::") | None => {}
            Some(source) => keys.set("source_address", source, &bind.from()),
        }
        for options in bind.items_of("socket_options") {
            notes.lose(&options.from(), "options of sockets have keys of their own: `mark`, `dscp`, `interface`, `keepalive`");
        }
    }
    let common = view.view("common_lb_config");
    if let Some(common) =
        common.filter(|common| common.view("locality_weighted_lb_config").is_some())
    {
        notes.lose(&common.from(), "servers are not chosen by where they are");
    }
}
