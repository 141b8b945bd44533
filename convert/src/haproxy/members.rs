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

/// Which servers have an option together: those with another one, if it names one, and what counts without the option.
type Group = (Option<&'static str>, &'static str);

/// All servers; without the option there is nothing.
const ALL: Group = (None, "");

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

    /// Whether a server gets the PROXY header that the first one gets, if it is not the first.
    pub(super) fn have_header_of(&self, options: &Options) -> bool {
        let version = |options: &Options| options.header().map(|(version, _)| version);
        let first = self.options.first();
        first.is_none_or(|(_, first)| version(first) == version(options))
    }

    /// Sets what all of them say of their upstream.
    pub(super) fn describe(&self, proxy: &Proxy, upstream: &mut Upstream, notes: &mut Notes) {
        self.of_upstream(upstream, notes);
        self.health(proxy, upstream, notes);
        self.agent(upstream, notes);
        self.queue(proxy, upstream, notes);
    }

    /// The option of all servers, or of those `among` them that have another one: the first one's, which may have none. Those that say
    /// something else are told. `default` is what counts without it.
    fn common(&self, name: &str, (among, default): Group, notes: &mut Notes) -> Option<&Given> {
        let its = self.options.iter();
        let mut its = its.filter(|(_, options)| among.is_none_or(|among| options.has(among)));
        let said = |options: &Options| match options.get(name) {
            Some(given) => given.arguments.join(" "),
            None => default.to_owned(),
        };
        let (_, first) = its.next()?;
        let here = match first.get(name) {
            Some(_) => format!("`{}`", format!("{name} {}", said(first)).trim_end()),
            None if default.is_empty() => "none".to_owned(),
            None => format!("{default}, as the first one has none"),
        };
        for (from, options) in its.filter(|(_, options)| differ(&said(options), &said(first))) {
            let why = format!("it is one for all servers of an upstream, here {here}");
            match options.get(name) {
                Some(other) => {
                    let what = format!("{name} {}", other.arguments.join(" "));
                    notes.lose(&other.from.part(&what), why);
                }
                None => notes.lose(from, format!("it has no `{name}`, and {why}")),
            }
        }
        first.get(name)
    }

    /// The servers that don't have an option.
    fn without(&self, name: &str) -> impl Iterator<Item = &Origin> {
        let others = self.options.iter();
        let others = others.filter(move |(_, options)| !options.has(name));
        others.map(|(from, _)| from)
    }

    /// The time that an option of all servers has.
    fn time(&self, name: &str, group: Group, notes: &mut Notes) -> Option<(Duration, Origin)> {
        let given = self.common(name, group, notes)?;
        let time = time::parse(given.arguments.first()?)?;
        Some((time, given.from.clone()))
    }

    fn of_upstream(&self, upstream: &mut Upstream, notes: &mut Notes) {
        let keys = &mut upstream.keys;
        if let Some((time, from)) = self.time("slowstart", (None, "0"), notes)
            && !time.is_zero()
        {
            keys.set("slow_start", time, &from);
        }
        if let Some((time, from)) = self.time("tcp-ut", (None, "0"), notes)
            && !time.is_zero()
        {
            keys.set("user_timeout", time, &from);
        }
        if let Some(given) = self.common("interface", ALL, notes) {
            keys.set("interface", given.arguments.join(" "), &given.from);
        }
        if let Some(given) = self.common("source", ALL, notes) {
            source::set(&given.arguments, &given.from, keys, notes);
        }
        if let Some(given) = self.common("on-marked-down", ALL, notes) {
            keys.set("on_down", "reset", &given.from);
        }
        let first = self.options.first();
        if let Some((version, given)) = first.and_then(|(_, options)| options.header()) {
            keys.set("send_proxy_protocol", version, &given.from);
        }
        if let Some(given) = self.common("proxy-v2-options", ALL, notes) {
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
            .common("observe", ALL, notes)
            .filter(|given| given.arguments == ["layer4"])
        {
            let limit = self.common("error-limit", (Some("observe"), "10"), notes);
            let limit = limit.and_then(|limit| limit.arguments.first()?.parse().ok());
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
        let checked: Vec<_> = checked.map(|(from, options)| (from, options)).collect();
        check::note_unused(proxy, !checked.is_empty(), notes);
        let Some(given) = checked.first().and_then(|(_, first)| first.get("check")) else {
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
        check::read(proxy, upstream, &checked, notes);
        let among = |default| (Some("check"), default);
        let inter = self.time("inter", among("2s"), notes);
        let fast = self.time("fastinter", among(""), notes);
        let rise = self.common("rise", among("2"), notes);
        let fall = self.common("fall", among("3"), notes);
        let ports = checked.iter();
        let ports = ports.filter_map(|(_, options)| options.get("port"));
        let ports: Vec<_> = ports.collect();
        let is_one = ports
            .iter()
            .all(|port| port.arguments == ports[0].arguments);
        let is_set = upstream.table("health", &given.from).get("port").is_some();
        // The same for all: it stands there once.
        let port = (is_one && ports.len() == self.options.len() && !is_set)
            .then(|| ports.first().copied())
            .flatten();
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
            (Some(time), _) if !time.value.is_zero() => (time.value, time.from.clone()),
            (_, Some((interval, from))) => (*interval, from.clone()),
            (_, None) => (
                INTERVAL,
                given.from.part("a check may take `inter`, which is 2s"),
            ),
        };
        keys.set("timeout", timeout.0.min(TIMEOUT_MAX), &timeout.1);
    }

    fn agent(&self, upstream: &mut Upstream, notes: &mut Notes) {
        let among = |default| (Some("agent-check"), default);
        let Some(given) = self.common("agent-port", among(""), notes) else {
            return;
        };
        let Some(port) = given
            .arguments
            .first()
            .and_then(|port| port.parse::<u64>().ok())
        else {
            return;
        };
        for from in self.without("agent-check") {
            notes.lose(from, "its agent is asked as those of the other servers of the upstream are; one that isn't there changes nothing");
        }
        let keys = upstream.table("agent", &given.from);
        keys.set("port", port, &given.from);
        if let Some((interval, from)) = self.time("agent-inter", among("2s"), notes) {
            keys.set("interval", interval, &from);
        }
        if let Some(given) = self.common("agent-send", among(""), notes) {
            keys.set("send", given.arguments.join(" "), &given.from);
        }
    }

    /// Where servers are full, clients of HAProxy wait.
    fn queue(&self, proxy: &Proxy, upstream: &mut Upstream, notes: &mut Notes) {
        let is_hashed = upstream.keys.get("balance") == Some(&"source-hash".into());
        for (_, options) in &self.options {
            let Some(given) = options.get("maxqueue") else {
                continue;
            };
            let from = given
                .from
                .part(&format!("maxqueue {}", given.arguments.join(" ")));
            match (is_hashed, options.number("maxqueue")) {
                (_, Some(0)) => {}
                (true, _) => notes.lose(
                    &from,
                    "HAProxy refuses those beyond it that a hash or a table leads to this server; here so many wait as `queue` says, for any server",
                ),
                (false, _) => notes.remark(
                    &from,
                    "HAProxy itself goes by it only where a hash or a table leads to a server; others wait for any server, as here",
                ),
            }
        }
        let limits = |options: &Options| options.number("maxconn").is_some_and(|count| count > 0);
        let Some((_, options)) = self.options.iter().find(|(_, options)| limits(options)) else {
            return;
        };
        let Some(given) = options.get("maxconn") else {
            return;
        };
        if is_hashed {
            let words = format!("maxconn {}", given.arguments.join(" "));
            let why = "a client whose server is full gets another one here; HAProxy has it wait for that one";
            notes.remark(&given.from.part(&words), why);
        }
        let from = given.from.part("clients wait where servers have `maxconn`");
        upstream.keys.set("queue", QUEUE, &from);
        let times = ["queue", "connect"].into_iter();
        let mut times = times.filter_map(|name| proxy.times.get(name));
        match times.find(|time| !time.value.is_zero()) {
            Some(time) => upstream.keys.set(
                "queue_timeout",
                time.value.min(QUEUE_TIMEOUT_MAX),
                &time.from,
            ),
            None => upstream.keys.set("queue_timeout", QUEUE_TIMEOUT_MAX, &from),
        }
    }
}

/// Whether two values of an option are not the same. A time may be written in two ways.
fn differ(one: &str, other: &str) -> bool {
    let same_time = || Some(time::parse(one)? == time::parse(other)?);
    one != other && same_time() != Some(true)
}
