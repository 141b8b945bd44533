//! `upstream` blocks, and the upstreams that are made of them: one for each way in which `server` blocks use them, as times and
//! the PROXY protocol stand there in nginx and at the upstream here.

use std::collections::HashMap;
use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Server, Upstream};
use super::super::value::Value;
use super::address::address;
use super::balance::balance;
use super::directive::Directive;
use super::ejection::ejection;
use super::manner::Manner;
use super::member::{scale, server};
use super::units::time;

/// What `max_ttl` can be.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(300);

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
        scale(&mut upstream, &block.from, notes);
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
        let discovery = upstream.table("discovery", &first.from);
        discovery.set("nameservers", addresses, &resolver.from);
        if let Some(valid) = resolver.named("valid") {
            let from = resolver.from.part(&format!("valid={valid}"));
            match time(valid) {
                Some(time) => {
                    discovery.set("max_ttl", time.clamp(TTL_MIN, TTL_MAX), &from);
                    notes.remark(
                        &from,
                        "an answer whose TTL is shorter is asked for again when that is over",
                    );
                }
                None => notes.lose(&from, "this is no time"),
            }
        }
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
