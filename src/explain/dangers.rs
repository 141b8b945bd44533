//! What is valid and may be meant, and is dangerous all the same.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use proxy_config::{BindAddress, Config, ListenAddress, Listener, Upstream, WhenAllDown};

/// Who waits longer for a connect has mostly gone.
const CONNECT_TIMEOUT_LONG: Duration = Duration::from_secs(30);

/// A line for each danger, with what to do. What a `check` warns of anyway is not among them.
pub(crate) fn dangers(config: &Config) -> Vec<String> {
    let mut dangers = of_admin(config);
    if config.runtime.drain_timeout.is_zero() {
        dangers.push(
            "[runtime] drain_timeout = \"0s\" resets all connections at SIGTERM: give them time"
                .to_owned(),
        );
    }
    for listener in &config.listeners {
        let name = &listener.name;
        let of_listener = of_listener(config, listener).into_iter();
        dangers.extend(of_listener.map(|danger| format!("[listeners.{name}] {danger}")));
    }
    for upstream in &config.upstreams {
        let name = &upstream.name;
        let of_upstream = of_upstream(upstream).into_iter();
        dangers.extend(of_upstream.map(|danger| format!("[upstreams.{name}] {danger}")));
    }
    dangers
}

fn of_admin(config: &Config) -> Vec<String> {
    let mut dangers = Vec::new();
    let admin = &config.admin;
    let listen = admin.listen;
    let is_open = match listen {
        ListenAddress::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        ListenAddress::Every(_) => true,
    };
    if is_open {
        dangers.push(format!(
            "[admin] listen = \"{listen}\" is open to the network: who reaches it reads the addresses of clients and servers, the \
             configuration and the metrics; listen on loopback or a network of your own, behind a firewall"
        ));
    }
    if admin.hosts.iter().any(|host| host == "*") {
        dangers.push(
            "[admin] hosts = [\"*\"] lets any web site that a person visits read the page by a name of its own (DNS rebinding): write \
             the names that it has"
                .to_owned(),
        );
    }
    for (key, path) in [
        ("token_file", admin.token_file.as_ref()),
        ("tls_key", admin.tls.as_ref().map(|tls| &tls.key)),
    ] {
        let Some(path) = path else {
            continue;
        };
        let is_readable =
            fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
        if is_readable {
            let shown = path.display();
            dangers.push(format!(
                "[admin] {key}: every user of this machine may read {shown}; chmod o-r {shown}"
            ));
        }
    }
    dangers
}

fn of_listener(config: &Config, listener: &Listener) -> Vec<String> {
    let mut dangers = Vec::new();
    let is_tcp = listener
        .binds
        .iter()
        .any(|bind| !matches!(bind, BindAddress::Unix(_)));
    let trusts_all =
        (listener.accept_proxy.as_ref()).is_some_and(|accept| accept.trusted.is_none());
    if trusts_all && is_tcp {
        dangers.push(
            "accept_proxy_protocol without trusted: everyone may say to be any client, in logs, limits and to the servers; write \
             trusted = [...] with the networks of your balancers"
                .to_owned(),
        );
    }
    let admission = &listener.admission;
    let is_limited = listener.max_connections.is_some()
        || admission.max_connections_per_source.is_some()
        || admission.max_rate_per_source.is_some()
        || config.runtime.max_connections.is_some();
    let waits = listener.accept_proxy.is_some() || config.hears_hello(listener);
    if waits && !is_limited && is_tcp {
        dangers.push(format!(
            "clients are heard before they have a server, without a limit: one that opens connections and is silent holds each for {:?} \
             (prologue_timeout); write max_connections or max_connections_per_source",
            listener.prologue_timeout
        ));
    }
    let times = &listener.times;
    let is_ended = [times.idle, times.client_idle, times.max_lifetime];
    if is_ended.iter().all(Option::is_none) {
        dangers.push(
            "idle_timeout = \"off\", and no other time ends connections: those of clients that are gone stay until the kernel finds \
             out, if it does; write idle_timeout, or max_lifetime"
                .to_owned(),
        );
    }
    dangers
}

fn of_upstream(upstream: &Upstream) -> Vec<String> {
    let mut dangers = Vec::new();
    let timeout = upstream.connect_timeout;
    if timeout > CONNECT_TIMEOUT_LONG {
        dangers.push(format!(
            "connect_timeout = {timeout:?}: clients wait so long for each server that is silent, and the next one is tried only then; \
             the default is 3s"
        ));
    }
    let is_checked = upstream.health.is_some() || upstream.agent.is_some();
    let several = upstream.servers.len() > 1 || upstream.discovery.is_some();
    if several && !is_checked {
        let name = &upstream.name;
        dangers.push(format!(
            "several servers and no health checks: one that is down is found by clients, who wait for connect_timeout ({timeout:?}); add \
             [upstreams.{name}.health]"
        ));
    }
    let refuses = upstream.balancing.when_all_down == WhenAllDown::Refuse;
    if refuses && !is_checked {
        dangers.push("when_all_down = \"refuse\" does nothing without health checks, by which servers are down".to_owned());
    }
    dangers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(admin: &str, listener: &str, upstream: &str) -> String {
        let text = format!(
            "{admin}\n[listeners.web]\nbind = \"0.0.0.0:80\"\nupstream = \"u\"\n{listener}\n\
             [upstreams.u]\n{upstream}\n"
        );
        let parsed = proxy_config::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
        dangers(&parsed.config).join("\n")
    }

    const ONE: &str = "servers = [\"10.0.0.1:80\"]";

    #[test]
    fn a_plain_file_has_none() {
        assert_eq!(found("", "", ONE), "");
        let mended =
            "accept_proxy_protocol = true\ntrusted = [\"10.0.0.0/8\"]\nmax_connections = 10";
        let checked = "servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\nhealth.type = \"tcp\"";
        assert_eq!(found("admin.listen = \"127.0.0.1:1\"", mended, checked), "");
    }

    #[test]
    fn each_danger_is_told_with_what_to_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        fs::write(&token, "secret").expect("write");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).expect("ours");
        let token = format!("admin.token_file = {token:?}");
        let two = "servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]";
        let refuse = format!("{ONE}\nwhen_all_down = \"refuse\"");
        let slow = format!("{ONE}\nconnect_timeout = \"1m\"");
        let sni = "[[listeners.web.routes]]\nsni = [\"a.example\"]\nupstream = \"u\"";
        for (admin, listener, upstream, words) in [
            (
                "admin.listen = \"0.0.0.0:9600\"",
                "",
                ONE,
                "open to the network",
            ),
            ("admin.listen = \"*:9600\"", "", ONE, "open to the network"),
            ("admin.hosts = [\"*\"]", "", ONE, "DNS rebinding"),
            (&token, "", ONE, "chmod o-r"),
            ("runtime.drain_timeout = \"0s\"", "", ONE, "drain_timeout"),
            (
                "",
                "accept_proxy_protocol = true\nmax_connections = 9",
                ONE,
                "any client",
            ),
            (
                "",
                "accept_proxy_protocol = true\ntrusted = [\"10.0.0.0/8\"]",
                ONE,
                "is silent",
            ),
            ("", sni, ONE, "is silent"),
            ("", "idle_timeout = \"off\"", ONE, "idle_timeout"),
            ("", "", two, "[upstreams.u.health]"),
            ("", "", &refuse, "does nothing"),
            ("", "", &slow, "the default is 3s"),
        ] {
            let told = found(admin, listener, upstream);
            assert!(
                told.contains(words),
                "{admin} {listener} {upstream}: {told}"
            );
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
}
