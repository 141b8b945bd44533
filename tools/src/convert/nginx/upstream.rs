//! `upstream` blocks, and the upstreams that are made of them: one for each way in which `server` blocks use them, as times and
//! the PROXY protocol stand there in nginx and at the upstream here.

use std::collections::HashMap;
use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Server, Upstream};
use super::super::value::Value;
use super::directive::Directive;
use super::units::{size, time};

/// How a `server` block talks to its servers.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// The name of the listener, for upstreams of which there are several.
    pub(super) listener: String,
    /// Keys of the upstream.
    pub(super) keys: Keys,
    /// Whether a client's address is what its peer announces.
    pub(super) is_announced: bool,
    /// Whether there is a header that announces a client, believed or not.
    pub(super) has_header: bool,
}

/// The upstreams of a configuration.
#[derive(Debug, Default)]
pub(super) struct Upstreams<'d> {
    blocks: HashMap<&'d str, &'d Directive>,
    names: Names,
    /// Those that there are, by what they are made of.
    made: HashMap<String, String>,
    /// The `resolver` of `stream {}`.
    pub(super) resolver: Option<&'d Directive>,
    pub(super) upstreams: Vec<Upstream>,
}

impl<'d> Upstreams<'d> {
    pub(super) fn add(&mut self, block: &'d Directive) {
        self.blocks.insert(block.value(), block);
    }

    /// The blocks that nothing leads to.
    pub(super) fn unused(&self) -> Vec<&'d Directive> {
        let used = |name: &str| {
            self.made
                .keys()
                .any(|key| key.split('\n').next() == Some(name))
        };
        let mut unused: Vec<_> = self
            .blocks
            .values()
            .copied()
            .filter(|block| !used(block.value()))
            .collect();
        unused.sort_by_key(|block| block.from.place.line);
        unused
    }

    /// The name of the upstream that `target` is in this manner, or why there is none. `from` leads there.
    pub(super) fn lead(
        &mut self,
        target: &str,
        manner: &Manner,
        from: &Origin,
        notes: &mut Notes,
    ) -> Result<String, String> {
        let mut key = target.to_owned();
        for entry in manner.keys.clone().into_entries() {
            key += &format!("\n{}={}", entry.key, entry.value.inline());
        }
        let block = self.blocks.get(target).copied();
        if block.is_some_and(goes_by_address) {
            key += &format!("\n{} {}", manner.is_announced, manner.has_header);
        }
        if let Some(name) = self.made.get(&key) {
            return Ok(name.clone());
        }
        let is_first = !self
            .made
            .keys()
            .any(|other| other.split('\n').next() == Some(target));
        let wanted = match (block.is_some(), is_first) {
            (true, _) if is_first || manner.listener == target => target.to_owned(),
            (true, _) => format!("{target}-{}", manner.listener),
            (false, _) => of_address(target),
        };
        let upstream = match block {
            Some(block) => self.of_block(block, &wanted, manner, notes)?,
            None => {
                let address = address(target, None)?;
                let mut upstream = Upstream::new(self.names.give(&wanted), from);
                upstream.servers.push(Server::new(address, from));
                upstream.keys = manner.keys.clone();
                upstream
            }
        };
        let name = upstream.name.clone();
        self.upstreams.push(upstream);
        self.made.insert(key, name.clone());
        Ok(name)
    }

    fn of_block(
        &mut self,
        block: &Directive,
        wanted: &str,
        manner: &Manner,
        notes: &mut Notes,
    ) -> Result<Upstream, String> {
        let mut upstream = Upstream::new(String::new(), &block.from);
        let mut failures = Vec::new();
        for directive in block.inner() {
            match directive.name.as_str() {
                "server" => server(directive, &mut upstream, &mut failures, notes),
                _ => balance(directive, manner, &mut upstream, notes),
            }
        }
        let own = block
            .inner()
            .iter()
            .find(|directive| directive.name == "resolver");
        resolve(block, own.or(self.resolver), &mut upstream, notes);
        if upstream.servers.is_empty() && upstream.tables.is_empty() {
            return Err(format!(
                "no server of `upstream {}` can be carried over",
                block.value()
            ));
        }
        ejection(&failures, &mut upstream, notes);
        for entry in manner.keys.clone().into_entries() {
            upstream.keys.set(entry.key, entry.value, &entry.from);
        }
        upstream.name = self.names.give(wanted);
        Ok(upstream)
    }
}

/// Has the one name of an upstream, or its service, asked for as `resolver` says: each of its addresses is a server.
fn resolve(
    block: &Directive,
    resolver: Option<&Directive>,
    upstream: &mut Upstream,
    notes: &mut Notes,
) {
    let mut servers = block
        .inner()
        .iter()
        .filter(|directive| directive.name == "server");
    let (first, more) = (servers.next(), servers.next());
    let is_name = |first: &&Directive| first.value().parse::<std::net::SocketAddr>().is_err();
    let Some(first) = first.filter(|first| first.says("resolve")).filter(is_name) else {
        return;
    };
    if more.is_some() {
        let why = "a name among several servers is one server, whose addresses take turns";
        return notes.remark(&first.from, why);
    }
    if let (None, Some(server)) = (first.named("service"), upstream.servers.pop()) {
        if server.keys.iter().any(|(key, _)| *key == "max_connections") {
            notes.lose(&first.from, "servers that are found have no limit of their own; `max_connections` is the upstream's");
        }
        upstream
            .table("discovery", &first.from)
            .set("dns", server.address, &first.from);
    }
    if let Some(resolver) = resolver {
        let all = resolver.texts().filter(|text| !text.contains('='));
        let addresses = all.map(|text| match text.parse::<std::net::IpAddr>() {
            Ok(ip) => std::net::SocketAddr::from((ip, 53)).to_string(),
            Err(_) => match address(text, Some("53")) {
                Ok(address) => address,
                Err(_) => text.to_owned(),
            },
        });
        let addresses: Value = addresses.collect();
        upstream
            .table("discovery", &first.from)
            .set("nameservers", addresses, &resolver.from);
    }
}

/// Whether its servers are chosen by the client's address.
fn goes_by_address(block: &Directive) -> bool {
    let is_hash = |directive: &&Directive| directive.name == "hash";
    block
        .inner()
        .iter()
        .filter(is_hash)
        .any(|hash| hash.value().contains("_addr"))
}

/// A name for the upstream of one server.
fn of_address(target: &str) -> String {
    let plain = target.trim_start_matches("unix:").trim_matches(['/', '[']);
    plain.replace([':', '/', ']'], "-")
}

/// An address as the configuration has it. `port` is what one without a port has.
pub(super) fn address(text: &str, port: Option<&str>) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(format!("unix:{}", path.trim_end_matches(':')));
    }
    let after_brackets = text.rsplit(']').next().unwrap_or(text);
    match (after_brackets.contains(':'), port) {
        (true, _) => Ok(text.to_owned()),
        (false, Some(port)) => Ok(format!("{text}:{port}")),
        (false, None) => Err(format!("`{text}` is no upstream, and has no port")),
    }
}

/// What ejects a server: failures, and for how long.
struct Failures {
    count: u64,
    rest: Duration,
    is_backup: bool,
    from: Origin,
}

/// nginx's defaults of `max_fails` and `fail_timeout`.
const MAX_FAILS: u64 = 1;
const FAIL_TIMEOUT: Duration = Duration::from_secs(10);

fn server(
    directive: &Directive,
    upstream: &mut Upstream,
    failures: &mut Vec<Failures>,
    notes: &mut Notes,
) {
    let from = &directive.from;
    let target = directive.value();
    if let Some(service) = directive.named("service") {
        let service = match service.contains('.') {
            true => service.to_owned(),
            false => format!("_{}._tcp", service.trim_start_matches('_')),
        };
        upstream
            .table("discovery", from)
            .set("dns", format!("{service}.{target}"), from);
    }
    let address = match address(target, None) {
        _ if directive.named("service").is_some() => None,
        Ok(address) => Some(address),
        Err(why) => return notes.lose(from, why),
    };
    let mut server = Server::new(address.clone().unwrap_or_default(), from);
    let mut failing = Failures {
        count: MAX_FAILS,
        rest: FAIL_TIMEOUT,
        is_backup: false,
        from: from.clone(),
    };
    for parameter in directive.texts().skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let number = value.parse::<u64>().ok();
        match (name, number, time(value)) {
            ("weight", Some(weight), _) => {
                if !server.keys.iter().any(|(key, _)| *key == "weight") {
                    server.set("weight", weight);
                }
            }
            ("down", ..) => server.set("weight", 0_u64),
            ("backup", ..) => {
                server.set("backup", true);
                failing.is_backup = true;
            }
            ("max_conns", Some(0), _) | ("resolve" | "service", ..) => {}
            ("max_conns", Some(most), _) => server.set("max_connections", most),
            ("max_fails", Some(count), _) => failing.count = count,
            ("fail_timeout", _, Some(rest)) => failing.rest = rest,
            ("slow_start", _, Some(time)) if !time.is_zero() => {
                upstream.keys.set("slow_start", time, &from.part(parameter));
            }
            ("slow_start", _, Some(_)) => {}
            _ => notes.lose(
                &from.part(parameter),
                "corelane has nothing like it for a server",
            ),
        }
    }
    failures.push(failing);
    if address.is_none() {
        return;
    }
    match upstream
        .servers
        .iter_mut()
        .find(|first| first.address == server.address)
    {
        Some(first) => join(first, &server, notes),
        None => upstream.servers.push(server),
    }
}

/// Joins a server that is listed again with the first one: it has both weights and both limits.
fn join(first: &mut Server, again: &Server, notes: &mut Notes) {
    let number = |server: &Server, name: &str| {
        let mut keys = server.keys.iter();
        keys.find_map(|(key, value)| match value {
            Value::Integer(number) if *key == name => Some(*number),
            _ => None,
        })
    };
    let is_backup = |server: &Server| server.keys.iter().any(|(key, _)| *key == "backup");
    if is_backup(first) != is_backup(again) {
        return notes.lose(
            &again.from,
            "a server is a backup or is not; the first line counts",
        );
    }
    let weight = number(first, "weight").unwrap_or(1) + number(again, "weight").unwrap_or(1);
    first.set("weight", weight);
    match (
        number(first, "max_connections"),
        number(again, "max_connections"),
    ) {
        (Some(one), Some(other)) => first.set("max_connections", one + other),
        _ => first.keys.retain(|(key, _)| *key != "max_connections"),
    }
    notes.remark(
        &again.from,
        "the same server again: it has both weights and both limits",
    );
}

/// Ejects servers as nginx passes them over: after failed connects, for a while.
fn ejection(failures: &[Failures], upstream: &mut Upstream, notes: &mut Notes) {
    // A server that is alone is never passed over.
    if failures.len() < 2 {
        return;
    }
    let Some(first) = failures
        .iter()
        .find(|failing| !failing.is_backup && failing.count > 0)
    else {
        return;
    };
    for other in failures.iter().filter(|other| !other.is_backup) {
        if (other.count, other.rest) != (first.count, first.rest) {
            let why = "`max_fails` and `fail_timeout` are those of the upstream here, and another server's are taken";
            notes.lose(&other.from, why);
        }
    }
    let times = first.rest.as_secs();
    let from = first
        .from
        .part(&format!("max_fails={} fail_timeout={times}s", first.count));
    let ejection = upstream.table("ejection", &from);
    ejection.set("consecutive_failures", first.count, &from);
    ejection.set("base", first.rest, &from);
    ejection.set("max", first.rest, &from);
    let all = first
        .from
        .part("nginx counts failed connects only, and may pass over all");
    ejection.set("early", "off", &all);
    ejection.set("slow_factor", 1000_u64, &all);
    ejection.set("largest_share", "100%", &all);
    ejection.set("panic_threshold", "0%", &all);
}

/// A directive of an `upstream` block that is no server.
fn balance(directive: &Directive, manner: &Manner, upstream: &mut Upstream, notes: &mut Notes) {
    let from = &directive.from;
    let keys = &mut upstream.keys;
    match directive.name.as_str() {
        "least_conn" => keys.set("balance", "least-connections", from),
        "hash" => hash(directive, manner, keys, notes),
        "random" => {
            keys.set("balance", "random-two", from);
            if directive
                .argument(1)
                .is_some_and(|method| method.starts_with("least_time"))
            {
                keys.set("compare_by", "connect-time", from);
            } else if directive.value() != "two" {
                notes.lose(from, "of two servers that are drawn at random, the one with fewer connections is taken");
            }
        }
        "least_time" => {
            keys.set("balance", "random-two", from);
            keys.set("compare_by", "connect-time", from);
            if directive.value() != "connect" {
                notes.lose(
                    from,
                    "servers are compared by the time that connects take, not by that of bytes",
                );
            }
        }
        // All workers see the same state here.
        "zone" => {}
        "resolver" | "resolver_timeout" => notes.remark(from, RESOLVER),
        _ => notes.lose(from, "corelane has nothing like it for an upstream"),
    }
}

/// Why a `resolver` needs nothing.
pub(super) const RESOLVER: &str = "names are asked of those in /etc/resolv.conf, again when their TTL is over; an upstream of one name with `resolve` asks these";

fn hash(directive: &Directive, manner: &Manner, keys: &mut Keys, notes: &mut Notes) {
    let from = &directive.from;
    let on = match directive.value() {
        "$remote_addr" | "$binary_remote_addr" if manner.is_announced => "source",
        "$remote_addr" | "$binary_remote_addr" | "$realip_remote_addr" => "peer",
        "$proxy_protocol_addr" if manner.has_header => "source",
        "$proxy_protocol_addr" => {
            let why =
                "without a header of the PROXY protocol this is empty, and servers take turns";
            return notes.remark(from, why);
        }
        "$ssl_preread_server_name" => "sni",
        _ => {
            let why = "servers are chosen by the client's address or by the name that it asks for (`hash_on`), else in turn";
            return notes.lose(from, why);
        }
    };
    keys.set("balance", "source-hash", from);
    if on != "source" {
        keys.set("hash_on", on, from);
    }
    notes.remark(from, "the same client goes to the same server, which is another one than nginx chooses: the hash is Maglev's");
}

/// Bytes a second, or nothing where there is no limit.
pub(super) fn rate(text: &str) -> Option<u64> {
    size(text).filter(|bytes| *bytes > 0)
}
