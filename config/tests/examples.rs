//! The files in `config/examples/` are documentation, so they must be right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proxy_config::{Balance, Config, Destination, Health, Scheduler, TokioMode, parse};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn example(name: &str) -> Config {
    let text = fs::read_to_string(examples().join(name)).unwrap();
    let loaded = parse(&text, name).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.runtime.scheduler, Scheduler::Auto);
    assert_eq!(loaded.config.admin.listen.to_string(), "127.0.0.1:9600");
    loaded.config
}

/// Each listener's first address with the servers behind it.
fn routes(config: &Config) -> Vec<String> {
    let route = |listener: &proxy_config::Listener| {
        let upstreams = listener.upstreams();
        let servers = upstreams
            .iter()
            .flat_map(|index| &config.upstream(*index).servers);
        let servers: Vec<String> = servers.map(|server| server.address.to_string()).collect();
        format!("{} -> {}", listener.binds[0], servers.join(", "))
    };
    config.listeners.iter().map(route).collect()
}

#[test]
fn balance() {
    let config = example("balance.toml");
    let [api, sorry] = &config.upstreams[..] else {
        panic!("two upstreams")
    };
    assert_eq!(api.balancing.balance, Balance::LeastConnections);
    assert_eq!(sorry.balancing.balance, Balance::SourceHash);
    let fallback = api
        .balancing
        .fallback
        .map(|index| &config.upstream(index).name[..]);
    assert_eq!(fallback, Some("sorry"));
    assert!(api.servers[3].backup && api.servers[2].weight == 0);
    assert!(api.retry_budget.is_some());
}

#[test]
fn discovery() {
    let config = example("discovery.toml");
    assert_eq!(routes(&config), ["127.0.0.1:7008 -> builtin:echo"]);
    assert!(config.upstreams[0].discovery.is_some());
}

#[test]
fn limits() {
    let config = example("limits.toml");
    assert_eq!(routes(&config), ["127.0.0.1:7002 -> builtin:echo"]);
    let admission = &config.listeners[0].admission;
    assert_eq!((admission.allow.len(), admission.deny.len()), (2, 1));
}

#[test]
fn proxy_protocol() {
    let config = example("proxy-protocol.toml");
    assert_eq!(routes(&config), ["127.0.0.1:7003 -> builtin:echo"]);
    let accept = config.listeners[0].accept_proxy.as_ref();
    let trusted = accept.and_then(|accept| accept.trusted.as_ref());
    assert_eq!(trusted.map(Vec::len), Some(2));
    let send = config.upstreams[0].send_proxy.as_ref();
    assert_eq!(send.map(|send| send.tlvs.len()), Some(2));
}

#[test]
fn recipes_of_replication_know_roles() {
    for (name, upstreams) in [("patroni.toml", 2), ("redis-replication.toml", 1)] {
        let config = example(name);
        assert_eq!(config.upstreams.len(), upstreams);
        for upstream in &config.upstreams {
            let health = upstream.health.as_ref().expect("it has checks");
            assert!(health.check.knows_role(), "{name}");
            let refused = upstream.balancing.when_all_down;
            assert_eq!(refused, proxy_config::WhenAllDown::Refuse, "{name}");
        }
    }
}

#[test]
fn echo() {
    assert_eq!(
        routes(&example("echo.toml")),
        ["127.0.0.1:7000 -> builtin:echo"]
    );
}

#[test]
fn access_log() {
    let config = example("access-log.toml");
    assert_eq!(routes(&config), ["127.0.0.1:7001 -> builtin:echo"]);
    let log = config.access_log.expect("it has one");
    assert_eq!(log.destination, Destination::Stdout);
}

#[test]
fn redis() {
    let config = example("redis.toml");
    assert_eq!(routes(&config), ["127.0.0.1:16379 -> 127.0.0.1:6379"]);
    assert_eq!(config.runtime.tokio.mode, TokioMode::PerCore);
}

#[test]
fn postgres() {
    let config = example("postgres.toml");
    assert_eq!(routes(&config), ["127.0.0.1:15432 -> 127.0.0.1:5432"]);
    assert_eq!(config.listeners[0].times.idle, None);
}

#[test]
fn sockets() {
    let config = example("sockets.toml");
    assert_eq!(routes(&config), ["127.0.0.1:12222 -> 127.0.0.1:22"]);
    let listener = &config.listeners[0];
    assert_eq!(
        listener.times.max_lifetime,
        Some(Duration::from_secs(86_400))
    );
    let keys: Vec<_> = listener.options.keys().collect();
    assert_eq!(keys, ["keepalive", "notsent_lowat", "dscp"]);
}

#[test]
fn web() {
    let config = example("web.toml");
    assert_eq!(
        routes(&config),
        ["127.0.0.1:18080 -> 127.0.0.1:8081, 127.0.0.1:8082"]
    );
    assert_eq!(
        config.upstreams[0].balancing.balance,
        Balance::LeastConnections
    );
    assert_eq!(config.upstreams[0].servers[0].weight, 2);
    assert_eq!(config.upstreams[0].health, Some(Health::default()));
}

#[test]
fn tls() {
    let config = example("tls.toml");
    assert_eq!(
        routes(&config),
        ["127.0.0.1:10443 -> 127.0.0.1:8443, 127.0.0.1:8444, 127.0.0.1:8445, 127.0.0.1:8446"]
    );
    assert_eq!(config.listeners[0].routes[2].upstreams[1].1, 10);
}

#[test]
fn postgres_tls() {
    let config = example("postgres-tls.toml");
    assert_eq!(
        routes(&config),
        ["127.0.0.1:15433 -> 127.0.0.1:5432, 127.0.0.1:5433"]
    );
    assert_eq!(config.listeners[0].upstream, None);
}

#[test]
fn ejection() {
    let config = example("ejection.toml");
    assert_eq!(
        routes(&config),
        ["127.0.0.1:18090 -> 127.0.0.1:8091, 127.0.0.1:8092, 127.0.0.1:8093"]
    );
    let ejection = config.upstreams[0].ejection.as_ref().unwrap();
    assert_eq!(ejection.consecutive_failures.get(), 5);
}

#[test]
fn agent() {
    let config = example("agent.toml");
    assert_eq!(
        routes(&config),
        ["127.0.0.1:7015 -> 127.0.0.1:8101, 127.0.0.1:8102"]
    );
    assert!(config.upstreams[0].agent.is_some());
}

#[test]
fn mqtt() {
    let config = example("mqtt.toml");
    assert_eq!(
        routes(&config),
        ["127.0.0.1:1883 -> 127.0.0.1:1884, 127.0.0.1:1885"]
    );
    let brokers = &config.upstreams[0];
    assert!(brokers.servers[1].backup);
    assert!(
        brokers
            .health
            .as_ref()
            .is_some_and(|health| health.check.knows_role())
    );
}

/// It listens where the kubelet and Prometheus can ask, and is what the manifest has.
#[test]
fn kubernetes() {
    let text = fs::read_to_string(examples().join("kubernetes.toml")).unwrap();
    let loaded = parse(&text, "kubernetes.toml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config.admin.listen.to_string(), "0.0.0.0:9600");
    assert!(loaded.config.upstreams[0].discovery.is_some());
    let manifest = examples().join("../../docs/recipes/kubernetes.yaml");
    let manifest = fs::read_to_string(manifest).unwrap();
    // The first line is for editors.
    let lines = text.lines().skip(1);
    let lines = lines.map(|line| match line {
        "" => String::new(),
        line => format!("    {line}"),
    });
    let block = lines.collect::<Vec<_>>().join("\n");
    assert!(
        manifest.contains(block.trim_end()),
        "its ConfigMap has another file"
    );
}

#[test]
fn every_file_is_tested_above() {
    let entries = fs::read_dir(examples()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "access-log.toml",
            "agent.toml",
            "balance.toml",
            "discovery.toml",
            "echo.toml",
            "ejection.toml",
            "kubernetes.toml",
            "limits.toml",
            "mqtt.toml",
            "patroni.toml",
            "postgres-tls.toml",
            "postgres.toml",
            "proxy-protocol.toml",
            "redis-replication.toml",
            "redis.toml",
            "sockets.toml",
            "tls.toml",
            "web.toml"
        ]
    );
}
