//! A listener of Envoy's.

use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Plan, Said};
use super::super::tree::View;
use super::asked::{Asked, Case, Chain, To};
use super::{chain, order};

use super::values::{address, duration, extension, number, percent};
use super::{Clusters, access_log, filters, lose_others};

const READ: [&str; 17] = [
    "name",
    "address",
    "additional_addresses",
    "filter_chains",
    "default_filter_chain",
    "listener_filters",
    "listener_filters_timeout",
    "continue_on_listener_filters_timeout",
    "tcp_backlog_size",
    "tcp_fast_open_queue_length",
    "transparent",
    "bind_to_port",
    "access_log",
    "socket_options",
    "api_listener",
    "use_original_dst",
    "connection_balance_config",
];

/// They mean nothing here.
const SILENT: [&str; 9] = [
    "per_connection_buffer_limit_bytes",
    "stat_prefix",
    "traffic_direction",
    "reuse_port",
    "enable_reuse_port",
    "drain_type",
    "metadata",
    "ignore_global_conn_limit",
    "max_connections_to_accept_per_socket_event",
];

/// How long clients are heard where nothing is written.
const HEARD: Duration = Duration::from_secs(15);

pub(super) fn read(
    view: &View<'_>,
    clusters: &Clusters,
    names: &mut Names,
    plan: &mut Plan,
) -> Result<Listener, String> {
    let mut listener = Listener::new(String::new(), &view.from());
    if view.view("api_listener").is_some() {
        return Err("it is for a program that Envoy is a part of".to_owned());
    }
    if view.is_true("use_original_dst") {
        return Err(
            "connections go to the upstream, not to the address that they were made to".to_owned(),
        );
    }
    if view.text_of("bind_to_port") == Some("false") {
        return Err("it takes no connections of its own (`bind_to_port`)".to_owned());
    }
    let places = view.view("address").into_iter().chain(
        view.items_of("additional_addresses")
            .into_iter()
            .filter_map(|more| more.view("address")),
    );
    for place in places {
        let port = place.at(&["socket_address", "port_value"]);
        let from = port.map_or_else(|| place.from(), |port| port.from());
        listener.binds.push(Said::new(address(&place)?, &from));
    }
    if listener.binds.is_empty() {
        return Err("it has no address".to_owned());
    }
    let is_heard = listener_filters(view, &mut listener, &mut plan.notes)?;
    options(view, &mut listener.keys, &mut plan.notes);
    let views = chain::chains(view);
    let has_default = view.view("default_filter_chain").is_some();
    let mut chains = Vec::new();
    let mut others = None;
    for (index, one) in views.iter().enumerate() {
        let is_default = has_default && index + 1 == views.len();
        let to = chain_target(one, clusters, views.len() == 1, &mut listener.keys, plan)?;
        // What the chain would take must not go to another one.
        let asked = match is_default {
            true => Some(Asked::default()),
            false => chain::asked(one, is_heard, &mut plan.notes)?,
        };
        let matched = one.view("filter_chain_match").filter(|_| !is_default);
        let from = matched.map_or_else(|| one.from(), |matched| matched.from());
        match asked {
            Some(asked) if !is_default => chains.push(Chain { asked, to, from }),
            Some(_) => others = Some((to, from)),
            None => {}
        }
        times(one, &mut listener.keys, plan);
    }
    if views.is_empty() {
        return Err("it has no filter chain".to_owned());
    }
    let mut by_protocol = chains
        .iter()
        .filter(|chain| !chain.asked.protocols.is_empty());
    if let Some(second) = by_protocol.nth(1) {
        let why = "of a client's protocols Envoy takes the first one that a chain asks for; here the first route decides";
        plan.notes.lose(&second.from, why);
    }
    lead(&chains, others, &mut listener)?;
    access_log(&view.items_of("access_log"), plan);
    lose_others(
        view,
        &READ,
        &SILENT,
        "corelane has nothing like it for a listener",
        &mut plan.notes,
    );
    listener.name = names.give(view.text_of("name").unwrap_or("main"));
    Ok(listener)
}

/// Where a chain leads. One that can't be carried over refuses its clients, unless it is the only one.
fn chain_target(
    one: &View<'_>,
    clusters: &Clusters,
    is_only: bool,
    keys: &mut Keys,
    plan: &mut Plan,
) -> Result<To, String> {
    let mut own = Keys::default();
    let found =
        filters::set(one, &mut own, &mut plan.notes).and_then(|()| chain::target(one, clusters));
    match found {
        Ok(to) => {
            for entry in own.into_entries() {
                if is_only {
                    keys.set(entry.key, entry.value, &entry.from);
                } else if matches!(entry.key, "max_connections" | "max_rate" | "burst") {
                    plan.notes.lose(
                        &entry.from,
                        "limits are the listener's, and not a chain's; write a listener for it",
                    );
                } else {
                    return Err("one of several chains has rules for who gets in, which are the listener's here".to_owned());
                }
            }
            Ok(to)
        }
        Err(why) if is_only => Err(why),
        Err(why) => {
            plan.notes.lose(
                &one.from(),
                format!("the chain is left out, and its clients are refused: {why}"),
            );
            one.pass_over();
            Ok(To::Reject)
        }
    }
}

/// The routes, and where the rest goes.
fn lead(
    chains: &[Chain],
    others: Option<(To, Origin)>,
    listener: &mut Listener,
) -> Result<(), String> {
    let refused = || (To::Reject, listener.from.clone());
    let (to, from) = others.unwrap_or_else(refused);
    let mut cases = order::cases(chains, &to)?;
    // Who no route takes is refused.
    if !cases.last().is_some_and(Case::is_rest) && to != To::Reject {
        let conditions = Vec::new();
        cases.push(Case {
            conditions,
            to,
            from,
        });
    }
    let rest = cases.pop_if(|case| case.is_rest() && !matches!(case.to, To::Split(_)));
    if let Some(Case {
        to: To::Upstream(name),
        from,
        ..
    }) = rest
    {
        listener.upstream = Some(Said::new(name, &from));
    }
    let is_served = |case: &Case| case.to != To::Reject;
    if listener.upstream.is_none() && !cases.iter().any(is_served) {
        return Err("all of its chains are left out".to_owned());
    }
    listener.routes = chain::routes(&cases);
    Ok(())
}

/// Returns whether ClientHellos are read.
fn listener_filters(
    view: &View<'_>,
    listener: &mut Listener,
    notes: &mut Notes,
) -> Result<bool, String> {
    let keys = &mut listener.keys;
    let (mut is_heard, mut hears_tls) = (false, false);
    for filter in view.items_of("listener_filters") {
        let (kind, config) = extension(&filter);
        let from = filter.from();
        match kind.as_str() {
            "TlsInspector" | "tls_inspector" => {
                (is_heard, hears_tls) = (true, true);
                if !view.is_true("continue_on_listener_filters_timeout") {
                    let why = "a client that says nothing is closed by Envoy after `listener_filters_timeout`; here it goes on as one without TLS (`not_tls = \"refuse\"` refuses all that speak no TLS)";
                    notes.remark(&from, why);
                }
            }
            "ProxyProtocol" | "proxy_protocol" => {
                is_heard = true;
                let is_optional = config.is_true("allow_requests_without_proxy_protocol");
                keys.set(
                    "accept_proxy_protocol",
                    if is_optional { "optional" } else { "required" },
                    &from,
                );
                if let Some(versions) = config.view("disallowed_versions") {
                    notes.lose(&versions.from(), "headers of both versions are taken");
                }
                if let Some(tlvs) = config.view("pass_through_tlvs") {
                    notes.lose(
                        &tlvs.from(),
                        "`proxy_tlvs` of an upstream says which are sent on",
                    );
                    tlvs.pass_over();
                }
            }
            "HttpInspector" | "http_inspector" => {}
            "LocalRateLimit" | "local_ratelimit" if filters::is_off(&config) => {
                notes.remark(&from, "it is off (`runtime_enabled`)");
                config.pass_over();
            }
            "LocalRateLimit" | "local_ratelimit" => filters::rate(&config, keys, notes),
            "OriginalDst" | "original_dst" => notes.lose(
                &from,
                "connections go to the upstream, not to the address that they were made to",
            ),
            "OriginalSrc" | "original_src" => notes.lose(
                &from,
                "write `source_address = \"client\"` at the upstreams",
            ),
            _ => {
                notes.lose(&from, "corelane runs no filters");
                filter.pass_over();
            }
        }
    }
    if is_heard {
        let written = view
            .view("listener_filters_timeout")
            .and_then(|time| Some((duration(&time)?, time.from())));
        let default = || {
            (
                HEARD,
                view.from()
                    .part("listener_filters_timeout 15s is Envoy's default"),
            )
        };
        let (heard, from) = written.unwrap_or_else(default);
        keys.set("prologue_timeout", heard, &from);
    }
    Ok(hears_tls)
}

fn options(view: &View<'_>, keys: &mut Keys, notes: &mut Notes) {
    for (name, key) in [
        ("tcp_backlog_size", "backlog"),
        ("tcp_fast_open_queue_length", "fast_open"),
    ] {
        if let Some((number, from)) = view
            .view(name)
            .and_then(|view| Some((number(&view)?, view.from())))
        {
            keys.set(key, number, &from);
        }
    }
    if let Some(transparent) = view
        .view("transparent")
        .filter(|view| view.text() == Some("true"))
    {
        keys.set("transparent", true, &transparent.from());
    }
    for option in view.items_of("socket_options") {
        notes.lose(
            &option.from(),
            "options of sockets have keys of their own: `mark`, `dscp`, `interface`, `keepalive`",
        );
    }
    if let Some(balance) = view.view("connection_balance_config") {
        notes.remark(
            &balance.from(),
            "`[runtime.glommio] placement = \"least-loaded\"` spreads connections over the cores",
        );
    }
}

/// Times of a chain's connections, which are the listener's here.
fn times(one: &View<'_>, keys: &mut Keys, plan: &mut Plan) {
    let Some(proxy) = chain::tcp_proxy(one) else {
        return;
    };
    let times = [
        ("idle_timeout", "idle_timeout"),
        ("downstream_idle_timeout", "client_idle_timeout"),
        ("upstream_idle_timeout", "server_idle_timeout"),
        ("max_downstream_connection_duration", "max_lifetime"),
    ];
    for (name, key) in times {
        let Some(time) = proxy.view(name) else {
            continue;
        };
        let (from, value) = (time.from(), duration(&time));
        match (value, keys.get(key)) {
            (None, _) => plan.notes.lose(&from, "this is no time"),
            (Some(value), Some(first)) if *first != value.into() => {
                plan.notes.lose(
                    &from,
                    "times are the listener's, and another chain's is taken",
                );
            }
            // Of these times, 0 is no limit.
            (Some(value), _) if value.is_zero() => keys.set(key, "off", &from),
            (Some(value), _) => keys.set(key, value, &from),
        }
        if key == "max_lifetime" {
            let jitter = proxy
                .view("max_downstream_connection_duration_jitter_percentage")
                .and_then(|view| percent(&view));
            keys.set(
                "lifetime_jitter",
                format!("{}%", jitter.unwrap_or_default()),
                &from,
            );
        }
    }
    if proxy.view("idle_timeout").is_none() && keys.get("idle_timeout").is_none() {
        let from = proxy.from().part("idle_timeout 1h is Envoy's default");
        keys.set("idle_timeout", Duration::from_secs(3600), &from);
    }
    for name in ["max_connect_attempts", "backoff_options"] {
        if let Some(attempts) = proxy.view(name) {
            plan.notes
                .remark(&attempts.from(), "a connection tries each server once");
        }
    }
    access_log(&proxy.items_of("access_log"), plan);
    let read = [
        "@type",
        "stat_prefix",
        "cluster",
        "weighted_clusters",
        "idle_timeout",
        "downstream_idle_timeout",
        "upstream_idle_timeout",
        "max_downstream_connection_duration",
        "max_downstream_connection_duration_jitter_percentage",
        "max_connect_attempts",
        "hash_policy",
        "access_log",
        "tunneling_config",
        "backoff_options",
    ];
    lose_others(
        &proxy,
        &read,
        &[],
        "corelane has nothing like it",
        &mut plan.notes,
    );
}
