//! What the servers of a proxy say together of their upstream.

use std::time::Duration;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Upstream;
use super::super::value::Value;
use super::check;
use super::options::{Given, Options};
use super::proxy::Proxy;
use super::source;
use super::time;

/// How often HAProxy checks where nothing is written.
const INTERVAL: Duration = Duration::from_secs(2);
/// The longest time that a check may take here.
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// The most clients that may wait; HAProxy has no limit of its own.
const QUEUE: u64 = 1_000_000;
/// How long a client may wait here at most.
const QUEUE_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);
/// Failures that HAProxy's `observe` takes where nothing is written.
const ERROR_LIMIT: u64 = 10;

/// The servers of an upstream, with the options of each.
#[derive(Default)]
pub(super) struct Members {
    /// Those that are carried over, in their order.
    options: Vec<(Origin, Options)>,
}

impl Members {
    pub(super) fn add(&mut self, from: &Origin, options: Options) {
        self.options.push((from.clone(), options));
    }

    /// Sets what all of them say of their upstream.
    pub(super) fn describe(&self, proxy: &Proxy, upstream: &mut Upstream, notes: &mut Notes) {
        self.of_upstream(upstream, notes);
        self.health(proxy, upstream, notes);
        self.agent(upstream, notes);
        self.queue(proxy, upstream);
    }

    /// The option of all servers, which is the first one's where they differ; that is said.
    fn common(&self, name: &str, notes: &mut Notes) -> Option<Given> {
        let mut given = self
            .options
            .iter()
            .filter_map(|(_, options)| options.get(name));
        let first = given.next()?;
        for other in given.filter(|other| other.arguments != first.arguments) {
            let what = format!("{name} {}", other.arguments.join(" "));
            let why = format!(
                "it is one for all servers of an upstream, here `{name} {}`",
                first.arguments.join(" ")
            );
            notes.lose(&other.from.part(&what), why);
        }
        Some(first.clone())
    }

    /// The servers that don't have an option.
    fn without(&self, name: &str) -> impl Iterator<Item = &Origin> {
        let others = self.options.iter();
        let others = others.filter(move |(_, options)| !options.has(name));
        others.map(|(from, _)| from)
    }

    /// The time that an option of all servers has.
    fn time(&self, name: &str, notes: &mut Notes) -> Option<(Duration, Origin)> {
        let given = self.common(name, notes)?;
        let time = time::parse(given.arguments.first()?)?;
        Some((time, given.from))
    }

    fn of_upstream(&self, upstream: &mut Upstream, notes: &mut Notes) {
        let keys = &mut upstream.keys;
        if let Some((time, from)) = self.time("slowstart", notes) {
            keys.set("slow_start", time, &from);
        }
        if let Some((time, from)) = self.time("tcp-ut", notes) {
            keys.set("user_timeout", time, &from);
        }
        if let Some(given) = self.common("interface", notes) {
            keys.set("interface", given.arguments.join(" "), &given.from);
        }
        if let Some(given) = self.common("source", notes) {
            source::set(&given.arguments, &given.from, keys, notes);
        }
        if let Some(given) = self.common("on-marked-down", notes) {
            keys.set("on_down", "reset", &given.from);
        }
        let versions = [
            ("send-proxy", "v1"),
            ("send-proxy-v2", "v2"),
            ("send-proxy-v2-ssl", "v2"),
            ("send-proxy-v2-ssl-cn", "v2"),
        ];
        let sends = |options: &Options| {
            let mut found = versions
                .iter()
                .filter_map(|(name, version)| Some((*version, options.get(name)?.clone())));
            found.next_back()
        };
        let mut sent = self
            .options
            .iter()
            .map(|(from, options)| (from, sends(options)));
        if let Some((_, first)) = sent.next() {
            let version = first.as_ref().map(|(version, _)| *version);
            for (from, _) in
                sent.filter(|(_, its)| its.as_ref().map(|(version, _)| *version) != version)
            {
                notes.lose(from, "all servers of an upstream get the same PROXY header; put this one into an upstream of its own");
            }
            if let Some((version, given)) = first {
                keys.set("send_proxy_protocol", version, &given.from);
            }
        }
        if let Some(given) = self.common("proxy-v2-options", notes) {
            let (mut carried, mut lost) = (Vec::new(), Vec::new());
            for option in given
                .arguments
                .iter()
                .flat_map(|options| options.split(','))
            {
                match option {
                    "authority" | "unique-id" | "crc32c" => carried.push(option),
                    option => lost.push(option),
                }
            }
            if !carried.is_empty() {
                keys.set(
                    "proxy_tlvs",
                    carried.into_iter().collect::<Value>(),
                    &given.from,
                );
            }
            if !lost.is_empty() {
                notes.lose(
                    &given.from.part(&lost.join(",")),
                    "corelane ends no TLS that it could tell of; what it received is passed on",
                );
            }
        }
        if let Some(given) = self
            .common("observe", notes)
            .filter(|given| given.arguments == ["layer4"])
        {
            let limit = self
                .options
                .iter()
                .find_map(|(_, options)| options.number("error-limit"));
            let keys = upstream.table("ejection", &given.from);
            keys.set(
                "consecutive_failures",
                limit.unwrap_or(ERROR_LIMIT),
                &given.from,
            );
        }
    }

    fn health(&self, proxy: &Proxy, upstream: &mut Upstream, notes: &mut Notes) {
        let checked = self
            .options
            .iter()
            .filter(|(_, options)| options.has("check"));
        let Some((_, first)) = checked.clone().next() else {
            return;
        };
        let Some(given) = first.get("check").cloned() else {
            return;
        };
        for from in self.without("check") {
            notes.lose(from, "it is checked as the other servers of the upstream are; put it into an upstream of its own, to which the other falls back");
        }
        upstream.table("health", &given.from);
        let from = given
            .from
            .part("HAProxy connects to no server that is down");
        upstream.keys.set("when_all_down", "refuse", &from);
        let is_tls = checked.clone().any(|(_, options)| options.has("check-ssl"));
        check::read(proxy, upstream, is_tls, notes);
        let inter = self.time("inter", notes);
        let fast = self.time("fastinter", notes);
        let (rise, fall) = (self.common("rise", notes), self.common("fall", notes));
        let ports = checked.filter_map(|(_, options)| options.get("port"));
        let ports: Vec<_> = ports.map(|given| given.arguments.clone()).collect();
        let port = match ports.first() {
            // The same for all: it stands there once.
            Some(first)
                if ports.len() == self.options.len() && ports.iter().all(|port| port == first) =>
            {
                self.common("port", notes)
            }
            _ => None,
        };
        if port.is_some() {
            upstream
                .servers
                .iter_mut()
                .for_each(|server| server.keys.retain(|(key, _)| *key != "check_port"));
        }
        let keys = upstream.table("health", &given.from);
        if let Some((interval, from)) = &inter {
            keys.set("interval", *interval, from);
        }
        if let Some((interval, from)) = fast {
            keys.set("fast_interval", interval, &from);
        }
        for (key, given) in [("rise", rise), ("fall", fall), ("port", port)] {
            if let Some(given) = given
                && let Some(number) = given
                    .arguments
                    .first()
                    .and_then(|text| text.parse::<u64>().ok())
            {
                keys.set(key, number, &given.from);
            }
        }
        let timeout = match (proxy.times.get("check"), &inter) {
            (Some(time), _) => (time.value, time.from.clone()),
            (None, Some((interval, from))) => (*interval, from.clone()),
            (None, None) => (
                INTERVAL,
                given.from.part("a check may take `inter`, which is 2s"),
            ),
        };
        keys.set("timeout", timeout.0.min(TIMEOUT_MAX), &timeout.1);
    }

    fn agent(&self, upstream: &mut Upstream, notes: &mut Notes) {
        let Some((_, first)) = self
            .options
            .iter()
            .find(|(_, options)| options.has("agent-check"))
        else {
            return;
        };
        let Some(port) = first.number("agent-port") else {
            return;
        };
        let Some(given) = self.common("agent-port", notes) else {
            return;
        };
        for from in self.without("agent-check") {
            notes.lose(from, "its agent is asked as those of the other servers of the upstream are; one that isn't there changes nothing");
        }
        let keys = upstream.table("agent", &given.from);
        keys.set("port", port, &given.from);
        if let Some((interval, from)) = self.time("agent-inter", notes) {
            keys.set("interval", interval, &from);
        }
        if let Some(given) = self.common("agent-send", notes) {
            keys.set("send", given.arguments.join(" "), &given.from);
        }
    }

    /// Where servers are full, clients of HAProxy wait.
    fn queue(&self, proxy: &Proxy, upstream: &mut Upstream) {
        let limits = |options: &Options| options.number("maxconn").is_some_and(|count| count > 0);
        let Some((_, options)) = self.options.iter().find(|(_, options)| limits(options)) else {
            return;
        };
        let Some(given) = options.get("maxconn") else {
            return;
        };
        let from = given.from.part("clients wait where servers have `maxconn`");
        upstream.keys.set("queue", QUEUE, &from);
        let time = proxy
            .times
            .get("queue")
            .or_else(|| proxy.times.get("connect"));
        match time {
            Some(time) => upstream.keys.set(
                "queue_timeout",
                time.value.min(QUEUE_TIMEOUT_MAX),
                &time.from,
            ),
            None => upstream.keys.set("queue_timeout", QUEUE_TIMEOUT_MAX, &from),
        }
    }
}
