//! Envoy.

use std::process::{Command, Stdio};

use super::site::{Kinds, Site, found};
use crate::convert_nginx::{CLIENTS, MANY_CLIENTS, are_close};
use crate::harness::child::Child;
use crate::harness::scheduler::{Scheduler, each_scheduler};

each_scheduler!(envoy_does_the_same);

/// The ports of the example, and what clients at each of them say.
const KINDS: Kinds = &[
    ("10001", "plain", CLIENTS),
    ("10002", "a.example.com", CLIENTS),
    ("10002", "x.b.example.com", CLIENTS),
    ("10002", "x.y.b.example.com", CLIENTS),
    ("10002", "other.example.com", CLIENTS),
    ("10003", "plain", MANY_CLIENTS),
    ("10004", "a.example.com", CLIENTS),
    ("10004", "x.example.com", CLIENTS),
    ("10004", "other.example", CLIENTS),
];

const ENVOY: &str = "
static_resources:
  listeners:
  - name: plain
    address: { socket_address: { address: 127.0.0.1, port_value: 10001 } }
    filter_chains:
    - filters: [ { name: envoy.filters.network.tcp_proxy, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: a } } ]
  - name: tls
    address: { socket_address: { address: 127.0.0.1, port_value: 10002 } }
    listener_filters:
    - name: envoy.filters.listener.tls_inspector
      typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
    filter_chains:
    - filter_chain_match: { server_names: ['*.b.example.com'] }
      filters: [ { name: envoy.filters.network.tcp_proxy, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: a } } ]
    - filter_chain_match: { server_names: [a.example.com, x.b.example.com] }
      filters: [ { name: envoy.filters.network.tcp_proxy, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: b, cluster: b } } ]
  - name: split
    address: { socket_address: { address: 127.0.0.1, port_value: 10003 } }
    filter_chains:
    - filters: [ { name: envoy.filters.network.tcp_proxy, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: split,
        weighted_clusters: { clusters: [ { name: a, weight: 1 }, { name: b, weight: 1 } ] } } } ]
  - name: no-way-back
    address: { socket_address: { address: 127.0.0.1, port_value: 10004 } }
    listener_filters:
    - name: envoy.filters.listener.tls_inspector
      typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
    filter_chains:
    - filter_chain_match: { server_names: [a.example.com], source_prefix_ranges: [ { address_prefix: 10.0.0.0, prefix_len: 8 } ] }
      filters: [ { name: envoy.filters.network.tcp_proxy, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: a } } ]
    - filter_chain_match: { server_names: ['*.example.com'] }
      filters: [ { name: envoy.filters.network.tcp_proxy, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: b, cluster: b } } ]
    - filters: [ { name: envoy.filters.network.tcp_proxy, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: c, cluster: a } } ]
  clusters:
  - name: a
    connect_timeout: 1s
    load_assignment:
      cluster_name: a
      endpoints:
      - lb_endpoints:
        - { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 192.0.2.1 } } }, load_balancing_weight: 30 }
        - { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 192.0.2.2 } } }, load_balancing_weight: 10 }
      - priority: 1
        lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 192.0.2.3 } } }
  - name: b
    connect_timeout: 1s
    load_assignment:
      cluster_name: b
      endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 192.0.2.4 } } } } ] } ]
";

fn envoy_does_the_same(scheduler: Scheduler) {
    let Some(program) = found("envoy") else {
        return;
    };
    let site = Site::new(KINDS);
    let file = site.write("envoy.yaml", ENVOY);
    let mut check = Command::new(&program);
    check
        .args(["--mode", "validate", "--log-level", "error", "-c"])
        .arg(&file);
    let (code, said) = Child::end_with_input(&mut check, Stdio::null());
    assert_eq!(code, Some(0), "Envoy finds it not valid: {said}");
    let mut command = Command::new(&program);
    command.args([
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--log-level",
        "error",
        "-c",
    ]);
    let by_envoy = {
        let envoy = site.peer(command.arg(&file));
        let reached = site.reached();
        assert!(!envoy.log().contains(" ERR "), "{}", envoy.log());
        reached
    };
    let (proxy, _) = site.corelane(scheduler, "envoy", &file, 0);
    let by_corelane = site.reached();
    proxy.stop();
    for ((port, says), envoys) in &by_envoy {
        let ours = &by_corelane[&(*port, *says)];
        // Envoy draws the clusters there, each for half of the clients.
        let off = match *port {
            "10003" => MANY_CLIENTS / 4,
            _ => 4,
        };
        assert!(
            are_close(envoys, ours, off),
            "{says} at {port}: Envoy {envoys:?}, corelane {ours:?}"
        );
    }
}
