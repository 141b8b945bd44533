//! What Envoy does with a connection that is easily missed: what becomes of it, and what is said of it.

use proxy_convert::{Converted, Input, Kind, Note, Nowhere, Refused, convert};

/// A bootstrap with one listener of these keys, and of these clusters.
fn attempt(listener: &str, clusters: &str) -> Result<Converted, Refused> {
    let text = format!(
        "static_resources:\n  listeners:\n  - {{ name: l, address: {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }}, {listener} }}\n  clusters: [ {clusters} ]\n"
    );
    let (name, bytes) = ("envoy.yaml".to_owned(), text.into_bytes());
    convert(&[Input { name, bytes }], Some(Kind::Envoy), &Nowhere)
}

fn cluster(name: &str, keys: &str) -> String {
    format!(
        "{{ name: {name}, connect_timeout: 1s, {keys} load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {} ] }} ] }} }}",
        endpoint("192.0.2.1", "")
    )
}

fn endpoint(host: &str, keys: &str) -> String {
    format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: 80 }} }}{keys} }} }}"
    )
}

/// A filter with its kind and its keys.
fn filter(kind: &str, keys: &str) -> String {
    format!(
        "{{ name: f, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.{kind}, stat_prefix: s, {keys} }} }}"
    )
}

fn tcp_proxy(cluster: &str) -> String {
    filter(
        "network.tcp_proxy.v3.TcpProxy",
        &format!("cluster: {cluster}"),
    )
}

fn rbac(keys: &str) -> String {
    filter("network.rbac.v3.RBAC", keys)
}

/// Rules with one policy.
fn rules(action: &str, principal: &str, range: &str, more: &str) -> String {
    let (prefix, length) = range.split_once('/').expect("a network");
    format!(
        "rules: {{ action: {action}, policies: {{ p: {{ permissions: [ {{ any: true }} ], principals: [ {{ {principal}: {{ address_prefix: {prefix}, prefix_len: {length} }} }} ], {more} }} }} }}"
    )
}

/// A listener with one chain of these filters.
fn guarded(filters: &[String]) -> Result<Converted, Refused> {
    let mut filters = filters.to_vec();
    filters.push(tcp_proxy("a"));
    let chain = format!(
        "filter_chains: [ {{ filters: [ {} ] }} ]",
        filters.join(", ")
    );
    attempt(&chain, &cluster("a", ""))
}

/// Why nothing is left.
fn refused(found: Result<Converted, Refused>) -> String {
    match found {
        Err(Refused::Nothing { losses, .. }) => said(&losses),
        other => panic!("{other:?}"),
    }
}

fn said(notes: &[Note]) -> String {
    let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
    notes.join("\n")
}

/// The lines that begin so, without what stands behind them.
fn lines(converted: &Converted, begins: &[&str]) -> String {
    let lines = converted.file.lines();
    let lines = lines.filter(|line| {
        begins
            .iter()
            .any(|begin| line.starts_with(&format!("{begin} = ")))
    });
    let lines = lines.map(|line| {
        line.split("  #")
            .next()
            .unwrap_or_default()
            .replace('"', "")
    });
    lines.collect::<Vec<_>>().join("; ")
}

const LISTS: &[&str] = &["allow", "deny", "allow_peer", "deny_peer"];

#[test]
fn who_several_filters_let_in_must_be_let_in_by_each() {
    let peer = |action, range| rbac(&rules(action, "direct_remote_ip", range, ""));
    let client = |action, range| rbac(&rules(action, "remote_ip", range, ""));
    let lists = |filters: &[String]| lines(&guarded(filters).expect("a listener"), LISTS);
    assert_eq!(
        lists(&[peer("ALLOW", "127.0.0.2/32"), peer("ALLOW", "127.0.0.0/8")]),
        "allow_peer = [127.0.0.2]"
    );
    assert_eq!(
        lists(&[peer("ALLOW", "10.0.0.0/8"), client("ALLOW", "127.0.0.0/8")]),
        "allow_peer = [10.0.0.0/8]; allow = [127.0.0.0/8]"
    );
    assert_eq!(
        lists(&[peer("DENY", "10.1.0.0/16"), peer("DENY", "10.2.0.0/16")]),
        "deny_peer = [10.1.0.0/16, 10.2.0.0/16]"
    );
    assert_eq!(
        lists(&[peer("DENY", "10.1.0.0/16"), peer("ALLOW", "10.0.0.0/8")]),
        "deny_peer = [10.1.0.0/16]; allow_peer = [10.0.0.0/8]"
    );
    for filters in [
        [peer("ALLOW", "127.0.0.2/32"), peer("ALLOW", "10.0.0.0/8")],
        [peer("DENY", "10.0.0.0/8"), peer("ALLOW", "10.1.0.0/16")],
        [peer("ALLOW", "10.1.0.0/16"), peer("DENY", "10.0.0.0/8")],
    ] {
        let why = refused(guarded(&filters));
        assert!(why.contains("its rules allow nobody"), "{why}");
    }
}

#[test]
fn rules_that_are_no_lists_of_addresses_leave_the_listener_out() {
    let condition = "condition: { call_expr: { function: _==_ } }";
    for filter in [
        rbac("matcher: { on_no_match: { action: { name: deny } } }"),
        rbac(&rules(
            "ALLOW",
            "direct_remote_ip",
            "127.0.0.0/8",
            condition,
        )),
        rbac(&rules(
            "ALLOW",
            "direct_remote_ip",
            "127.0.0.0/8",
            "cel_config: {}",
        )),
        rbac(&rules("DENY", "not_id", "127.0.0.0/8", "")),
    ] {
        let why = refused(guarded(std::slice::from_ref(&filter)));
        assert!(why.contains("(RBAC)"), "{filter}: {why}");
    }
}

#[test]
fn the_client_that_a_header_announces_is_the_source_of_rules() {
    let of = |principal| {
        let filter = rbac(&rules("ALLOW", principal, "127.0.0.0/8", ""));
        lines(&guarded(&[filter]).expect("a listener"), LISTS)
    };
    assert_eq!(of("direct_remote_ip"), "allow_peer = [127.0.0.0/8]");
    assert_eq!(of("remote_ip"), "allow = [127.0.0.0/8]");
    assert_eq!(of("source_ip"), "allow = [127.0.0.0/8]");
}

const INSPECTOR: &str = "listener.tls_inspector.v3.TlsInspector";

/// A listener with these chains, each an expression of `filter_chain_match` with its cluster.
fn chains(chains: &[(&str, &str)], more: &str) -> Converted {
    let chains = chains.iter().map(|(asked, to)| {
        format!(
            "{{ filter_chain_match: {{ {asked} }}, filters: [ {} ] }}",
            tcp_proxy(to)
        )
    });
    let chains = chains.collect::<Vec<_>>().join(", ");
    let clusters = ["a", "b", "c"].map(|name| cluster(name, ""));
    let listener = format!("{more} filter_chains: [ {chains} ]");
    attempt(&listener, &clusters.join(", ")).expect("a listener")
}

const ROUTES: &[&str] = &[
    "sni", "alpn", "source", "peer", "port", "upstream", "reject",
];

#[test]
fn chains_have_no_way_back() {
    let inspector = format!("listener_filters: [ {} ],", filter(INSPECTOR, ""));
    let inside = "source_prefix_ranges: [ { address_prefix: 10.0.0.0, prefix_len: 8 } ]";
    let all = [
        (&*format!("server_names: [a.example.com], {inside}"), "a"),
        ("server_names: ['*.example.com']", "b"),
        ("", "c"),
    ];
    let converted = chains(&all, &inspector);
    // The rest comes first in the file.
    assert_eq!(
        lines(&converted, ROUTES),
        "upstream = c; sni = [a.example.com]; source = [10.0.0.0/8]; upstream = a; \
         sni = [a.example.com]; reject = true; sni = [*.example.com]; upstream = b"
    );
    assert_eq!(said(&converted.losses), "");
    assert!(said(&converted.remarks).contains("says nothing is closed by Envoy"));
    let goes_on = format!("continue_on_listener_filters_timeout: true, {inspector}");
    assert_eq!(said(&chains(&all, &goes_on).remarks), "");
}

#[test]
fn names_that_envoy_does_not_hear_choose_nothing() {
    let converted = chains(&[("server_names: [a.example.com]", "a"), ("", "b")], "");
    assert_eq!(lines(&converted, ROUTES), "upstream = b");
    let said = said(&converted.remarks);
    assert!(
        said.contains("without the listener filter `tls_inspector`"),
        "{said}"
    );
}

#[test]
fn the_order_of_a_clients_protocols_is_named() {
    let inspector = format!("listener_filters: [ {} ],", filter(INSPECTOR, ""));
    let all = [
        ("application_protocols: [h2]", "a"),
        ("application_protocols: [x]", "b"),
    ];
    let converted = chains(&all, &inspector);
    assert_eq!(
        lines(&converted, ROUTES),
        "alpn = [h2]; upstream = a; alpn = [x]; upstream = b"
    );
    assert!(said(&converted.losses).contains("of a client's protocols"));
}

#[test]
fn what_is_off_is_off() {
    let limit = |value| {
        let keys = format!(
            "max_connections: 1, runtime_enabled: {{ default_value: {value}, runtime_key: x }}"
        );
        let filter = filter("network.connection_limit.v3.ConnectionLimit", &keys);
        lines(
            &guarded(&[filter]).expect("a listener"),
            &["max_connections"],
        )
    };
    let of_cluster = "max_connections = 1024";
    assert_eq!(limit("false"), of_cluster);
    assert_eq!(limit("true"), format!("max_connections = 1; {of_cluster}"));
    let chain = format!(
        "bind_to_port: false, filter_chains: [ {{ filters: [ {} ] }} ]",
        tcp_proxy("a")
    );
    let why = refused(attempt(&chain, &cluster("a", "")));
    assert!(why.contains("bind_to_port"), "{why}");
}

#[test]
fn every_key_of_a_listener_or_a_cluster_is_named_or_carried_over() {
    let limit = filter(
        "network.connection_limit.v3.ConnectionLimit",
        "max_connections: 5, delay: 1s",
    );
    let delayed = rbac(&format!(
        "delay_deny: 5s, {}",
        rules("ALLOW", "remote_ip", "127.0.0.0/8", "")
    ));
    let proxy = filter(
        "network.tcp_proxy.v3.TcpProxy",
        "cluster: a, access_log_options: { flush_access_log_on_connected: true }, access_log: [ { filter: { x: y }, typed_config: { '@type': x.StdoutAccessLog } } ]",
    );
    let header = filter(
        "listener.proxy_protocol.v3.ProxyProtocol",
        "disallowed_versions: [ V1 ]",
    );
    let listener = format!(
        "listener_filters: [ {header} ], filter_chains: [ {{ transport_socket_connect_timeout: 3s, filters: [ {delayed}, {limit}, {proxy} ] }} ]"
    );
    let checked = "{ timeout: 1s, interval: 1s, initial_jitter: 1s, no_traffic_interval: 5s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: { proxy_protocol_config: {} } }";
    let first = endpoint(
        "192.0.2.1",
        ", hostname: x, health_check_config: { disable_active_health_check: true, address: { pipe: { path: /a } } }",
    );
    let cluster = format!(
        "{{ name: a, health_checks: [ {checked} ], common_lb_config: {{ close_connections_on_host_set_change: true, update_merge_window: 1s }}, \
         outlier_detection: {{ consecutive_5xx: 3, enforcing_consecutive_5xx: 0 }}, \
         load_assignment: {{ cluster_name: a, policy: {{ drop_overloads: [ {{ category: x }} ], overprovisioning_factor: 200 }}, \
         endpoints: [ {{ lb_endpoints: [ {first} ] }}, {{ priority: 1, lb_endpoints: [ {} ] }} ] }} }}",
        endpoint("192.0.2.2", "")
    );
    let converted = attempt(&listener, &cluster).expect("a listener");
    let losses = said(&converted.losses);
    let names: Vec<_> = converted
        .losses
        .iter()
        .map(|loss| loss.what.split(':').next())
        .collect();
    for name in [
        "delay",
        "delay_deny",
        "filter",
        "access_log_options",
        "disallowed_versions",
        "transport_socket_connect_timeout",
        "initial_jitter",
        "proxy_protocol_config",
        "disable_active_health_check",
        "address",
        "hostname",
        "close_connections_on_host_set_change",
        "enforcing_consecutive_5xx",
        "policy",
    ] {
        assert!(names.contains(&Some(name)), "{name}: {losses}");
    }
    assert_eq!(converted.losses.len(), 14, "{losses}");
    let remarks = said(&converted.remarks);
    assert!(remarks.contains("fewer than 72% of those"), "{remarks}");
}
