//! A configuration, written as one file.

mod health;

use std::fmt::{Display, Write as _};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::sections::access_log::{AccessLog, Format};
use crate::sections::admin::Admin;
use crate::sections::admission::Admission;
use crate::sections::balance::{Balance, Balancing};
use crate::sections::discovery::{Discovery, DiscoverySource};
use crate::sections::ejection::Ejection;
use crate::sections::listener::Listener;
use crate::sections::names::UpstreamIndex;
use crate::sections::proxy_protocol::{AcceptProxy, SendProxy};
use crate::sections::route::Route;
use crate::sections::runtime::Runtime;
use crate::sections::socket::{Keepalive, ListenerOptions, SocketOptions};
use crate::sections::times::Times;
use crate::sections::upstream::Upstream;
use crate::values::cores::Cores;
use crate::values::seconds::Seconds;
use crate::values::template::{Piece, Template};

/// Bytes of the digest that are shown: enough to tell configurations apart at a glance.
const HASH_BYTES: usize = 8;

impl Config {
    /// The text of one file that means the same: every value as it was understood, the defaults too. The same
    /// configuration is always the same text.
    pub fn to_toml(&self) -> String {
        let mut text =
            String::from("# What runs: every value as it was understood, defaults included.\n\n");
        runtime(&mut text, &self.runtime);
        admin(&mut text, &self.admin);
        if let Some(log) = &self.access_log {
            access_log(&mut text, log);
        }
        for listener in &self.listeners {
            text += &self.listener_toml(listener);
        }
        for upstream in &self.upstreams {
            text += &self.upstream_toml(upstream);
        }
        text
    }

    /// The part of [`Config::to_toml`] that is one of its listeners.
    pub fn listener_toml(&self, listener: &Listener) -> String {
        let mut text = String::new();
        let name = |index| &self.upstream(index).name[..];
        write_listener(&mut text, listener, listener.upstream.map(name));
        for route in &listener.routes {
            write_route(&mut text, &listener.name, route, name);
        }
        text
    }

    /// The part of [`Config::to_toml`] that is one of its upstreams.
    pub fn upstream_toml(&self, upstream: &Upstream) -> String {
        let mut text = String::new();
        let fallback = upstream.balancing.fallback;
        let fallback = fallback.map(|index| &self.upstream(index).name[..]);
        write_upstream(&mut text, upstream, fallback);
        text
    }

    /// A fingerprint of what it means, wherever that was written: the same for the same configuration under the same
    /// version of the program. 16 hexadecimal digits.
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.to_toml());
        let digits = digest.iter().take(HASH_BYTES);
        digits.map(|byte| format!("{byte:02x}")).collect()
    }
}

fn runtime(text: &mut String, runtime: &Runtime) {
    let cores = match &runtime.cores {
        Cores::All => quoted("all"),
        Cores::Count(count) => count.to_string(),
        Cores::List(cpus) => {
            let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
            quoted(cpus.join(","))
        }
    };
    let mut values = vec![
        ("scheduler", quoted(runtime.scheduler)),
        ("cores", cores),
        ("pin", runtime.pin.to_string()),
        ("drain_timeout", duration(runtime.drain_timeout)),
        ("on_switch", quoted(runtime.on_switch)),
        ("watch", runtime.watch.to_string()),
    ];
    let max = runtime.max_connections;
    values.extend(max.map(|max| ("max_connections", max.to_string())));
    table(text, "[runtime]", &values);
    let glommio = &runtime.glommio;
    table(
        text,
        "[runtime.glommio]",
        &[
            ("ring_depth", glommio.ring_depth.to_string()),
            ("preempt_timer", duration(glommio.preempt_timer)),
            ("placement", quoted(glommio.placement)),
        ],
    );
    let rebalance = &glommio.rebalance;
    table(
        text,
        "[runtime.glommio.rebalance]",
        &[
            ("enabled", rebalance.enabled.to_string()),
            ("interval", duration(rebalance.interval)),
            ("threshold", format!("{:?}", rebalance.threshold)),
            ("max_moves", rebalance.max_moves.to_string()),
        ],
    );
    table(
        text,
        "[runtime.tokio]",
        &[("mode", quoted(runtime.tokio.mode))],
    );
}

fn admin(text: &mut String, admin: &Admin) {
    let mut values = vec![("listen", quoted(admin.listen))];
    if !admin.hosts.is_empty() {
        let hosts: Vec<_> = admin.hosts.iter().map(quoted).collect();
        values.push(("hosts", format!("[{}]", hosts.join(", "))));
    }
    if let Some(socket) = &admin.socket {
        values.push(("socket", quoted(socket.path.display())));
        values.push(("socket_mode", quoted(format_args!("{:04o}", socket.mode))));
        let group = socket.group.as_ref();
        values.extend(group.map(|group| ("socket_group", quoted(group))));
    }
    table(text, "[admin]", &values);
}

fn access_log(text: &mut String, log: &AccessLog) {
    let mut values = vec![("path", quoted(&log.destination))];
    match &log.format {
        Format::Json => values.push(("format", quoted("json"))),
        Format::Text(template) => values.extend([
            ("format", quoted("text")),
            ("template", quoted(written_template(template))),
        ]),
    }
    values.push(("queue", log.queue.to_string()));
    table(text, "[access_log]", &values);
}

fn written_template(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.replace('{', "{{").replace('}', "}}"),
        Piece::Field(field) => format!("{{{field}}}"),
    };
    template.pieces().iter().map(piece).collect()
}

fn write_listener(text: &mut String, listener: &Listener, upstream: Option<&str>) {
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

fn write_route<'n>(
    text: &mut String,
    listener: &str,
    route: &Route,
    upstream: impl Fn(UpstreamIndex) -> &'n str,
) {
    let mut values = vec![("name", quoted(&route.name))];
    if !route.sni.is_empty() {
        values.push(("sni", list(&route.sni)));
    }
    if !route.alpn.is_empty() {
        values.push(("alpn", list(&route.alpn)));
    }
    if !route.source.is_empty() {
        values.push(("source", list(&route.source)));
    }
    if !route.ports.is_empty() {
        let ports = route.ports.iter();
        let ports: Vec<_> = ports
            .map(|ports| format!("{}-{}", ports.start(), ports.end()))
            .collect();
        values.push(("port", list(&ports)));
    }
    values.push(match &route.upstreams[..] {
        [] => ("reject", true.to_string()),
        [(one, 1)] => ("upstream", quoted(upstream(*one))),
        several => {
            let parts = several.iter();
            let parts: Vec<_> = parts
                .map(|(index, weight)| format!("{} = {weight}", quoted(upstream(*index))))
                .collect();
            ("upstreams", format!("{{ {} }}", parts.join(", ")))
        }
    });
    let heading = format!("[[listeners.{}.routes]]", quoted(listener));
    table(text, &heading, &values);
}

fn admission(admission: &Admission) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    for (key, entries) in [("allow", &admission.allow), ("deny", &admission.deny)] {
        if !entries.is_empty() {
            values.push((key, list(entries)));
        }
    }
    for (key, limit) in [
        (
            "max_connections_per_source",
            admission.max_connections_per_source,
        ),
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

fn send_proxy(send: &SendProxy) -> Vec<(&'static str, String)> {
    let mut values = vec![("send_proxy_protocol", quoted(send.version))];
    if !send.tlvs.is_empty() {
        values.push(("proxy_tlvs", list(&send.tlvs)));
    }
    values
}

/// An array of strings.
fn list(values: &[impl Display]) -> String {
    let values: Vec<_> = values.iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

fn socket_options(options: &SocketOptions) -> Vec<(&'static str, String)> {
    let keepalive = match options.keepalive {
        Keepalive::Off => Some(quoted("off")),
        Keepalive::On {
            idle,
            interval,
            count,
        } => {
            let seconds = |key, seconds: Option<Seconds>| {
                seconds.map(|seconds| format!("{key} = {}", quoted(seconds)))
            };
            let count = count.map(|count| format!("count = {count}"));
            let times = [seconds("idle", idle), seconds("interval", interval), count];
            let times: Vec<_> = times.into_iter().flatten().collect();
            (!times.is_empty()).then(|| format!("{{ {} }}", times.join(", ")))
        }
    };
    let values = [
        ("keepalive", keepalive),
        ("user_timeout", options.user_timeout.map(duration)),
        ("notsent_lowat", options.notsent_lowat.map(quoted)),
        ("receive_buffer", options.receive_buffer.map(quoted)),
        ("send_buffer", options.send_buffer.map(quoted)),
        ("congestion", options.congestion.as_ref().map(quoted)),
        ("mark", options.mark.map(|mark| mark.to_string())),
        ("dscp", options.dscp.map(|dscp| dscp.to_string())),
        ("interface", options.interface.as_ref().map(quoted)),
    ];
    let written = values.into_iter();
    written
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
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
    let or_off = |time: Option<Duration>| time.map_or_else(|| quoted("off"), duration);
    [
        ("idle_timeout", or_off(times.idle)),
        ("client_idle_timeout", or_off(times.client_idle)),
        ("server_idle_timeout", or_off(times.server_idle)),
        ("half_closed_timeout", or_off(times.half_closed)),
        ("max_lifetime", or_off(times.max_lifetime)),
        ("lifetime_jitter", quoted(times.lifetime_jitter)),
    ]
}

fn write_upstream(text: &mut String, upstream: &Upstream, fallback: Option<&str>) {
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
    table(text, &format!("[upstreams.{name}]"), &values);
    if let Some(health) = &upstream.health {
        health::write(text, &name, health);
    }
    if let Some(ejection) = &upstream.ejection {
        write_ejection(text, &name, ejection);
    }
    if let Some(discovery) = &upstream.discovery {
        write_discovery(text, &name, discovery);
    }
}

fn write_discovery(text: &mut String, upstream: &str, discovery: &Discovery) {
    let mut values = vec![match &discovery.source {
        DiscoverySource::Dns(name) => ("dns", quoted(name)),
        DiscoverySource::File(path) => ("file", quoted(path.display())),
        DiscoverySource::Http(url) => ("http", quoted(url)),
    }];
    if !discovery.nameservers.is_empty() {
        values.push(("nameservers", list(&discovery.nameservers)));
    }
    values.push(("interval", duration(discovery.interval)));
    table(text, &format!("[upstreams.{upstream}.discovery]"), &values);
}

fn balancing(balancing: &Balancing, fallback: Option<&str>) -> Vec<(&'static str, String)> {
    let mut values = vec![("balance", quoted(balancing.balance))];
    if balancing.balance == Balance::SourceHash {
        values.push(("hash_on", quoted(balancing.hash_on)));
    }
    let max = balancing.max_connections;
    values.extend(max.map(|max| ("max_connections", max.to_string())));
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
    let early = ejection.early;
    table(
        text,
        &format!("[upstreams.{upstream}.ejection]"),
        &[
            (
                "consecutive_failures",
                ejection.consecutive_failures.to_string(),
            ),
            ("early", early.map_or_else(|| quoted("off"), duration)),
            ("slow_factor", ejection.slow_factor.to_string()),
            ("interval", duration(ejection.interval)),
            ("base", duration(ejection.base)),
            ("max", duration(ejection.max)),
            ("largest_share", quoted(ejection.largest_share)),
            ("panic_threshold", quoted(ejection.panic_threshold)),
        ],
    );
}

fn table(text: &mut String, heading: &str, values: &[(&str, String)]) {
    let _ = writeln!(text, "{heading}");
    for (key, value) in values {
        let _ = writeln!(text, "{key} = {value}");
    }
    text.push('\n');
}

/// A string of JSON is one of TOML.
fn quoted(value: impl Display) -> String {
    serde_json::Value::from(value.to_string()).to_string()
}

/// In the largest unit that needs no fraction.
fn duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 4] = [
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1000),
        ("ns", 1),
    ];
    let nanoseconds = duration.as_nanos();
    let whole = UNITS
        .iter()
        .find(|(_, unit)| nanoseconds.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(&UNITS[3]);
    quoted(format!("{}{name}", nanoseconds / unit))
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn what_is_written_means_the_same() {
        let text = r#"
            [runtime]
            scheduler = "glommio"
            cores = "0-2,7"
            drain_timeout = "0s"
            on_switch = "drain"
            watch = true
            glommio.placement = "least-loaded"
            glommio.preempt_timer = "150us"
            glommio.rebalance.threshold = 1
            tokio.mode = "per-core"
            [admin]
            listen = "127.0.0.1:9700"
            hosts = ["corelane.example", "*"]
            socket = "/run/corelane/admin.sock"
            socket_mode = "600"
            socket_group = "adm"
            [access_log]
            path = "/var/log/\t\"corelane\".log"
            template = "{client} {{{bytes_in}}}"
            [listeners.a]
            bind = ["127.0.0.1:1", "[::]:2", "*:4", "unix:/run/\"é\".sock"]
            upstream = "main.pool"
            accept_proxy_protocol = "optional"
            trusted = ["10.0.0.0/8", "::1"]
            untrusted = "refuse"
            prologue_timeout = "250ms"
            latency = "2ms"
            max_connections = 7
            idle_timeout = "off"
            client_idle_timeout = "1m"
            server_idle_timeout = "2m"
            half_closed_timeout = "1500ms"
            max_lifetime = "1h"
            lifetime_jitter = "7%"
            keepalive = { idle = "1m30s", count = 3 }
            user_timeout = "1500ms"
            fast_open = 64
            defer_accept = "3s"
            notsent_lowat = "16KiB"
            receive_buffer = "1MiB"
            send_buffer = "5000B"
            congestion = "reno"
            mark = 0xff
            dscp = "ef"
            interface = "lo"
            transparent = true
            [listeners."b.c"]
            bind = "127.0.0.1:3"
            upstream = "main.pool"
            splice = false
            [upstreams."main.pool"]
            servers = [
                "builtin:echo",
                { address = "host:80", weight = 3 },
                { address = "host:81", weight = 0, backup = true, max_connections = 5 },
            ]
            balance = "source-hash"
            hash_on = "sni"
            max_connections = 9
            slow_start = "2500ms"
            fallback = "other"
            when_all_down = "refuse"
            connect_timeout = "1m1s"
            on_removed = "reset"
            keepalive = "off"
            dscp = 0
            source_address = "client"
            send_proxy_protocol = "v2"
            proxy_tlvs = ["crc32c", "unique-id"]
            [upstreams."main.pool".ejection]
            consecutive_failures = 7
            early = "off"
            slow_factor = 3
            interval = "1s"
            base = "2s"
            max = "3s"
            largest_share = "40%"
            panic_threshold = "0%"

            [upstreams."main.pool".health]
            interval = "1500ms"
            fall = 1
            type = "http"
            fast_interval = "500ms"
            jitter = "0%"
            port = 8008
            http = { path = "/primary", status = [200, "300-302"], host = "a", headers = ["A: b"], body_regex = "\\\\d" }
            [upstreams.second]
            servers = [{ address = "h:1", check_port = 8 }]
            health = { type = "expect", expect = [{ send = "a\r\n" }, { expect_hex = "00ff" }, { expect_regex = "^a" }] }
            [upstreams.third]
            servers = ["h:1"]
            health = { type = "tls", tls = { verify = true, ca = "/ca.pem", server_name = "a.b" } }
            [upstreams.fourth]
            servers = ["h:1"]
            health = { type = "mysql", user = "me" }
            [upstreams.other]
            servers = ["builtin:echo"]
        "#;
        let config = |text: &str| parse(text, "test").expect("valid").config;
        let given = config(text);
        let written = given.to_toml();
        assert_eq!(config(&written), given, "{written}");
        assert!(
            written.contains("\nconnect_timeout = \"61s\"\n"),
            "{written}"
        );
        let health = "jitter = \"0%\"\ntimeout = \"1s\"\nrise = 2\nfall = 1\n";
        assert!(written.contains(health), "{written}");
    }

    #[test]
    fn the_hash_is_of_the_meaning() {
        let hash = |text: &str| parse(text, "test").expect("valid").config.hash();
        let text = "listeners.a = { bind = \"127.0.0.1:0\", upstream = \"a\" }\nupstreams.a.servers = [\"builtin:echo\"]";
        assert_eq!(hash(text).len(), 16);
        assert_eq!(
            hash(text),
            hash(&format!("# a comment\nruntime.pin = true\n{text}"))
        );
        assert_ne!(hash(text), hash(&format!("runtime.pin = false\n{text}")));
    }

    #[test]
    fn defaults_are_written() {
        let text = "listeners.a = { bind = \"127.0.0.1:0\", upstream = \"a\" }\nupstreams.a.servers = [\"builtin:echo\"]";
        let config = parse(text, "test").expect("valid").config;
        let written = config.to_toml();
        assert!(
            written.contains("scheduler = \"auto\"\ncores = \"all\"\npin = true\n"),
            "{written}"
        );
        assert_eq!(parse(&written, "test").expect("valid").config, config);
    }
}
