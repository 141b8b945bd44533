//! An upstream, as it is written.

use std::path::PathBuf;

use super::health;
use super::socket::socket_options;
use super::text::{duration, list, or_off, quoted, table};
use crate::sections::agent::Agent;
use crate::sections::balance::{Balance, Balancing};
use crate::sections::discovery::{Discovery, DiscoverySource, Kubernetes};
use crate::sections::ejection::Ejection;
use crate::sections::proxy_protocol::SendProxy;
use crate::sections::upstream::Upstream;

pub(super) fn write(text: &mut String, upstream: &Upstream, fallback: Option<&str>) {
    let servers: Vec<_> = upstream
        .servers
        .iter()
        .map(|server| {
            let address = quoted(&server.address);
            let weight = (server.weight != 1).then(|| format!(", weight = {}", server.weight));
            let backup = server.backup.then(|| ", backup = true".to_owned());
            let max = server.max_connections;
            let max = max.map(|max| format!(", max_connections = {max}"));
            let check_port = server.check_port;
            let check_port = check_port.map(|port| format!(", check_port = {port}"));
            let rest: String = [weight, backup, max, check_port]
                .into_iter()
                .flatten()
                .collect();
            match &rest[..] {
                "" => address,
                rest => format!("{{ address = {address}{rest} }}"),
            }
        })
        .collect();
    let name = quoted(&upstream.name);
    let mut values = Vec::new();
    if !servers.is_empty() {
        values.push(("servers", format!("[{}]", servers.join(", "))));
    }
    values.push(("connect_timeout", duration(upstream.connect_timeout)));
    values.push(("starttls_timeout", duration(upstream.starttls_timeout)));
    values.extend(
        upstream
            .retry_budget
            .map(|part| ("retry_budget", quoted(part))),
    );
    values.extend(balancing(&upstream.balancing, fallback));
    values.extend(upstream.send_proxy.iter().flat_map(send_proxy));
    let options = &upstream.options;
    values.extend(socket_options(&options.socket));
    values.extend(
        options
            .source_address
            .map(|source| ("source_address", quoted(source))),
    );
    values.push(("on_removed", quoted(upstream.on_removed)));
    values.push(("on_down", quoted(upstream.on_down)));
    values.push(("close_over", or_off(upstream.close_over)));
    table(text, &format!("[upstreams.{name}]"), &values);
    if let Some(health) = &upstream.health {
        health::write(text, &name, health);
    }
    if let Some(agent) = &upstream.agent {
        write_agent(text, &name, agent);
    }
    if let Some(ejection) = &upstream.ejection {
        write_ejection(text, &name, ejection);
    }
    if let Some(discovery) = &upstream.discovery {
        write_discovery(text, &name, discovery);
    }
}

fn write_agent(text: &mut String, upstream: &str, agent: &Agent) {
    let mut values = vec![
        ("port", agent.port.to_string()),
        ("interval", duration(agent.interval)),
        ("timeout", duration(agent.timeout)),
    ];
    if !agent.send.is_empty() {
        // It was read as a string.
        let send = String::from_utf8_lossy(&agent.send);
        values.push(("send", quoted(send)));
    }
    table(text, &format!("[upstreams.{upstream}.agent]"), &values);
}

fn write_discovery(text: &mut String, upstream: &str, discovery: &Discovery) {
    let mut values = vec![match &discovery.source {
        DiscoverySource::Dns(name) => ("dns", quoted(name)),
        DiscoverySource::File(path) => ("file", quoted(path.display())),
        DiscoverySource::Http(url) => ("http", quoted(url)),
        DiscoverySource::Kubernetes(service) => ("kubernetes", kubernetes(service)),
    }];
    if !discovery.nameservers.is_empty() {
        values.push(("nameservers", list(&discovery.nameservers)));
    }
    values.push(("interval", duration(discovery.interval)));
    values.push(("max_ttl", duration(discovery.max_ttl)));
    table(text, &format!("[upstreams.{upstream}.discovery]"), &values);
}

fn kubernetes(source: &Kubernetes) -> String {
    let mut values = vec![format!("service = {}", quoted(&source.service))];
    let mut add = |key: &str, value: Option<String>| {
        values.extend(value.map(|value| format!("{key} = {value}")));
    };
    add("namespace", source.namespace.as_ref().map(quoted));
    add("port", source.port.as_ref().map(quoted));
    add("api", source.api.as_ref().map(quoted));
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| quoted(path.display()));
    add("token_file", path(&source.token_file));
    add("ca_file", path(&source.ca_file));
    format!("{{ {} }}", values.join(", "))
}

fn balancing(balancing: &Balancing, fallback: Option<&str>) -> Vec<(&'static str, String)> {
    let mut values = vec![("balance", quoted(balancing.balance))];
    if balancing.balance == Balance::SourceHash {
        values.push(("hash_on", quoted(balancing.hash_on)));
    }
    if balancing.balance == Balance::RandomTwo {
        values.push(("compare_by", quoted(balancing.compare_by)));
    }
    let max = balancing.max_connections;
    values.extend(max.map(|max| ("max_connections", max.to_string())));
    if let Some(queue) = balancing.queue {
        values.push(("queue", queue.max.to_string()));
        values.push(("queue_timeout", duration(queue.timeout)));
    }
    values.extend(
        balancing
            .slow_start
            .map(|time| ("slow_start", duration(time))),
    );
    values.extend(fallback.map(|name| ("fallback", quoted(name))));
    values.push(("when_all_down", quoted(balancing.when_all_down)));
    values
}

fn write_ejection(text: &mut String, upstream: &str, ejection: &Ejection) {
    table(
        text,
        &format!("[upstreams.{upstream}.ejection]"),
        &[
            (
                "consecutive_failures",
                ejection.consecutive_failures.to_string(),
            ),
            ("early", or_off(ejection.early)),
            ("slow_factor", ejection.slow_factor.to_string()),
            ("interval", duration(ejection.interval)),
            ("base", duration(ejection.base)),
            ("max", duration(ejection.max)),
            ("largest_share", quoted(ejection.largest_share)),
            ("panic_threshold", quoted(ejection.panic_threshold)),
        ],
    );
}

fn send_proxy(send: &SendProxy) -> Vec<(&'static str, String)> {
    let mut values = vec![("send_proxy_protocol", quoted(send.version))];
    if !send.tlvs.is_empty() {
        values.push(("proxy_tlvs", list(&send.tlvs)));
    }
    values
}
