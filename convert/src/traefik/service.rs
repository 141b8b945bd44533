//! Services: upstreams, or several of them by weight.

use std::collections::HashMap;
use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::plan::{Server, Upstream};
use super::super::tree::View;
use super::{duration, health, lose_others, without_provider};

/// How long a connect may take, and after how long a silence a server is asked whether it is there, where nothing is written.
const DIAL: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long the other direction goes on after an end of a stream, in milliseconds.
const TERMINATION_MILLIS: i64 = 100;

/// Weighted services within weighted services.
const DEPTH_MAX: usize = 4;

/// Where a router leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum To {
    Upstream(String),
    Split(Vec<(String, u64)>),
    /// The router is left out, and its clients are refused.
    Reject,
}

/// The services of all files.
#[derive(Default)]
pub(super) struct Services<'n> {
    services: HashMap<String, View<'n>>,
    transports: HashMap<String, View<'n>>,
    /// `tcpServersTransport` of the static file.
    pub(super) defaults: Option<View<'n>>,
    names: Names,
    made: HashMap<String, Result<String, String>>,
    pub(super) upstreams: Vec<Upstream>,
    /// How long the other direction goes on, in milliseconds, by the names of upstreams.
    delays: HashMap<String, i64>,
}

impl<'n> Services<'n> {
    pub(super) fn add(&mut self, tcp: &View<'n>) {
        for (name, view) in tcp
            .view("services")
            .map_or_else(Vec::new, |view| view.entries())
        {
            self.services.insert(name.to_owned(), view);
        }
        for (name, view) in tcp
            .view("serversTransports")
            .map_or_else(Vec::new, |view| view.entries())
        {
            self.transports.insert(name.to_owned(), view);
        }
    }

    /// Where a service leads, or why it can't.
    pub(super) fn lead(&mut self, name: &str, notes: &mut Notes) -> Result<To, String> {
        self.lead_below(name, notes, 0)
    }

    fn lead_below(&mut self, name: &str, notes: &mut Notes, depth: usize) -> Result<To, String> {
        let name = without_provider(name);
        let Some(view) = self.services.get(name).cloned() else {
            return Err(format!("there is no service {name:?} in the files"));
        };
        let Some(weighted) = view.view("weighted") else {
            return self.upstream(name, &view, notes).map(To::Upstream);
        };
        if depth > DEPTH_MAX {
            return Err("services lead to services in a circle, or too deep".to_owned());
        }
        let mut weights: Vec<(String, u64)> = Vec::new();
        for part in weighted.items_of("services") {
            let weight = part
                .text_of("weight")
                .map_or(Some(1), |weight| weight.parse().ok());
            let weight = weight.ok_or("a weight is no number")?;
            match self.lead_below(part.text_of("name").unwrap_or_default(), notes, depth + 1)? {
                To::Upstream(name) => match weights.iter_mut().find(|(found, _)| *found == name) {
                    Some((_, more)) => *more += weight,
                    None => weights.push((name, weight)),
                },
                To::Split(_) | To::Reject => {
                    return Err("a weighted service leads to another one".to_owned());
                }
            }
        }
        if let Some(health) = weighted.view("healthCheck") {
            notes.remark(
                &health.from(),
                "an upstream none of whose servers is up has a `fallback`",
            );
        }
        Ok(To::Split(weights))
    }

    /// How long the other direction of connections to these upstreams goes on.
    pub(super) fn delays(&self, to: &To) -> Vec<i64> {
        let names: Vec<&String> = match to {
            To::Upstream(name) => vec![name],
            To::Split(weights) => weights.iter().map(|(name, _)| name).collect(),
            To::Reject => Vec::new(),
        };
        names
            .into_iter()
            .filter_map(|name| self.delays.get(name).copied())
            .collect()
    }

    fn upstream(
        &mut self,
        name: &str,
        view: &View<'n>,
        notes: &mut Notes,
    ) -> Result<String, String> {
        if let Some(made) = self.made.get(name) {
            return made.clone();
        }
        let made = self.read(name, view, notes);
        self.made.insert(name.to_owned(), made.clone());
        made
    }

    fn read(&mut self, name: &str, view: &View<'n>, notes: &mut Notes) -> Result<String, String> {
        let Some(balancer) = view.view("loadBalancer") else {
            return Err(format!("the service {name:?} has no `loadBalancer`"));
        };
        let tls = "TLS to servers is not made here, and what clients say must not go in the clear";
        let mut upstream = Upstream::new(String::new(), &view.from());
        for server in balancer.items_of("servers") {
            let Some(address) = server.view("address").or_else(|| server.view("url")) else {
                continue;
            };
            if server.is_true("tls") {
                return Err(tls.to_owned());
            }
            let from = address.from();
            upstream
                .servers
                .push(Server::new(address.text().unwrap_or_default(), &from));
        }
        if upstream.servers.is_empty() {
            return Err(format!("the service {name:?} has no server"));
        }
        let named = balancer.text_of("serversTransport").map(without_provider);
        let transport =
            match named {
                Some(transport) => {
                    let found = self.transports.get(transport).cloned();
                    Some(found.ok_or_else(|| {
                        format!("there is no transport {transport:?} in the files")
                    })?)
                }
                None => self.defaults.clone(),
            };
        if transport
            .as_ref()
            .is_some_and(|transport| transport.view("tls").is_some())
            && named.is_some()
        {
            return Err(tls.to_owned());
        }
        let of = |key: &str| {
            let own = balancer.view(key);
            own.or_else(|| transport.as_ref().and_then(|transport| transport.view(key)))
        };
        let default = |words: &str| view.from().part(&format!("{words} is Traefik's default"));
        let time = |key: &str, default_time: Duration, words: &str| match of(key) {
            Some(view) => (duration(&view), view.from()),
            None => (Some(default_time), default(words)),
        };
        let keys = &mut upstream.keys;
        for (written, key, (value, from)) in [
            (
                "dialTimeout",
                "connect_timeout",
                time("dialTimeout", DIAL, "dialTimeout 30s"),
            ),
            (
                "dialKeepAlive",
                "keepalive",
                time("dialKeepAlive", KEEPALIVE, "dialKeepAlive 15s"),
            ),
        ] {
            match value {
                Some(value) if value.is_zero() => {
                    notes.remark(&from, format!("{written} 0 is the system's"))
                }
                Some(value) => keys.set(key, value, &from),
                None => notes.lose(&from, "this is no time"),
            }
        }
        if let Some(proxy) = of("proxyProtocol") {
            let version = proxy.text_of("version").unwrap_or("2");
            keys.set("send_proxy_protocol", format!("v{version}"), &proxy.from());
        }
        let delay = of("terminationDelay").map(|delay| {
            let text = delay.text().unwrap_or_default();
            if text.starts_with('-') {
                return Some(-1);
            }
            // A number alone is of milliseconds at a balancer, and of seconds in a transport.
            let own = balancer.view("terminationDelay").and(text.parse().ok());
            own.or_else(|| duration(&delay).and_then(|time| i64::try_from(time.as_millis()).ok()))
        });
        if let Some(check) = balancer.view("healthCheck") {
            health::read(&check, &mut upstream, notes);
        }
        let read = [
            "servers",
            "serversTransport",
            "proxyProtocol",
            "terminationDelay",
            "healthCheck",
            "tls",
        ];
        lose_others(
            &balancer,
            &read,
            "corelane has nothing like it for an upstream",
            notes,
        );
        upstream.name = self.names.give(name);
        let given = upstream.name.clone();
        self.delays
            .insert(given.clone(), delay.flatten().unwrap_or(TERMINATION_MILLIS));
        self.upstreams.push(upstream);
        Ok(given)
    }
}
