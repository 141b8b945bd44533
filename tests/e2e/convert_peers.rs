//! A configuration of Envoy, converted: Envoy finds it valid, and the same clients reach the same servers as often by it and by the
//! proxy. Where it isn't in PATH, the test is skipped; `tests/run` brings it from PyPI.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::convert_nginx::{CLIENTS, MANY_CLIENTS, are_close, counts, named, start};
use crate::harness::child::Child;
use crate::harness::peer::Service;
use crate::harness::port;
use crate::harness::proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(envoy_does_the_same);

/// The ports of the examples, which become free ones, and what a client at each of them says.
const PORTS: [(&str, &str); 6] = [
    ("10001", "plain"),
    ("10002", "a.example.com"),
    ("10002", "x.b.example.com"),
    ("10002", "x.y.b.example.com"),
    ("10002", "other.example.com"),
    ("10003", "plain"),
];

/// Envoy draws the clusters of this one, each for half of the clients.
fn is_by_chance(port: &str) -> bool {
    port == "10003"
}

/// The example servers, which become ones of this test.
const SERVERS: [&str; 4] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];

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
    let site = Site::new();
    let file = site.write("envoy.yaml", ENVOY);
    let mut check = Command::new(&program);
    check
        .args(["--mode", "validate", "--log-level", "error", "-c"])
        .arg(&file);
    let (code, said) = Child::end_with_input(&mut check, std::process::Stdio::null());
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
    site.compare(scheduler, command.arg(&file), "envoy", &[&file]);
}

/// A program, unless it isn't there.
fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).map(|directory| directory.join(name));
    let found = all.into_iter().find(|program| program.is_file());
    if found.is_none() {
        println!("skipped: {name} isn't installed; `bash tests/run` brings it");
    }
    found
}

struct Site {
    directory: tempfile::TempDir,
    ports: BTreeMap<&'static str, u16>,
    servers: Vec<Service>,
}

impl Site {
    fn new() -> Self {
        let names = (b'a'..).take(SERVERS.len());
        Self {
            directory: tempfile::tempdir().expect("directory"),
            ports: PORTS
                .iter()
                .map(|(port, _)| *port)
                .map(|port| (port, port::free()))
                .collect(),
            servers: names.map(|name| named(name, false)).collect(),
        }
    }

    /// A file with the ports of this test.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let mut text = text.to_owned();
        for (example, port) in &self.ports {
            text = text.replace(example, &port.to_string());
        }
        for (example, server) in SERVERS.iter().zip(&self.servers) {
            text = text.replace(example, &server.address().port().to_string());
        }
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("write");
        path
    }

    fn compare(&self, scheduler: Scheduler, command: &mut Command, kind: &str, files: &[&Path]) {
        let by_peer = {
            let child = Child::spawn(command, Signal::TERM);
            for port in self.ports.values() {
                wait::until("the peer listens", || {
                    TcpStream::connect(("127.0.0.1", *port)).is_ok()
                });
            }
            let reached = self.reached();
            assert!(!child.log().contains(" ERR "), "{}", child.log());
            reached
        };
        let mut convert = proxy::command();
        let output = convert
            .args(["convert", "--from", kind])
            .args(files)
            .output()
            .expect("run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let proxy = start(scheduler, self.directory.path(), &output.stdout);
        let by_proxy = self.reached();
        proxy.stop();
        for ((port, says), peers) in &by_peer {
            let proxys = &by_proxy[&(*port, *says)];
            let off = match is_by_chance(port) {
                true => MANY_CLIENTS / 4,
                false => 4,
            };
            assert!(
                are_close(peers, proxys, off),
                "{says} at {port}: {kind} {peers:?}, corelane {proxys:?}"
            );
        }
    }

    /// How many clients of each kind reach each server.
    fn reached(&self) -> BTreeMap<(&'static str, &'static str), BTreeMap<u8, usize>> {
        let reached = PORTS.iter().map(|(port, says)| {
            let address = SocketAddr::from(([127, 0, 0, 1], self.ports[port]));
            let clients = match is_by_chance(port) {
                true => MANY_CLIENTS,
                false => CLIENTS,
            };
            ((*port, *says), counts(address, says, false, clients))
        });
        reached.collect()
    }
}
