//! The servers of a proxy, and what they say together of their upstream.

use std::time::Duration;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Server, Upstream};
use super::super::value::Value;
use super::check;
use super::options::{Given, Options};
use super::proxy::Proxy;
use super::section::Line;

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
struct Members {
    /// Those that are carried over, in their order.
    options: Vec<(Origin, Options)>,
}

/// Fills an upstream with servers and what they say of it. Returns those that are backups beyond the first one, where HAProxy uses one of
/// them at a time.
pub(super) fn read(
    proxy: &Proxy,
    client_port: Option<&str>,
    upstream: &mut Upstream,
    notes: &mut Notes,
) -> Vec<Server> {
    let mut defaults = Options::default();
    for line in proxy.all("default-server") {
        defaults = Options::read(line, 1, &defaults);
    }
    let mut members = Members {
        options: Vec::new(),
    };
    for line in proxy.all("server") {
        let options = Options::read(line, 3, &defaults);
        if let Some(server) = member(line, &options, client_port, notes) {
            upstream.servers.push(server);
            members.options.push((line.from.clone(), options));
        }
    }
    for line in proxy.all("server-template") {
        let options = Options::read(line, 4, &defaults);
        if template(line, &options, upstream, notes) {
            members.options.push((line.from.clone(), options));
        }
    }
    members.of_upstream(upstream, notes);
    members.health(proxy, upstream, notes);
    members.agent(upstream, notes);
    members.queue(proxy, upstream);
    if proxy.options.contains_key("allbackups") {
        return Vec::new();
    }
    let is_backup = |server: &Server| server.keys.iter().any(|(key, _)| *key == "backup");
    if upstream
        .servers
        .iter()
        .filter(|server| is_backup(server))
        .count()
        < 2
    {
        return Vec::new();
    }
    let (mut backups, others): (Vec<_>, Vec<_>) = upstream.servers.drain(..).partition(is_backup);
    upstream.servers = others;
    backups
        .iter_mut()
        .for_each(|server| server.keys.retain(|(key, _)| *key != "backup"));
    backups
}

/// A server; nothing if it can't be one here.
fn member(
    line: &Line,
    options: &Options,
    client_port: Option<&str>,
    notes: &mut Notes,
) -> Option<Server> {
    let from = &line.from;
    if options.has("ssl") {
        let why = "corelane speaks no TLS with servers; have clients speak it with the server, or take a port without";
        notes.lose(from, why);
        return None;
    }
    options.note(notes);
    let address = match address(&line.words[2], client_port) {
        Ok(address) => address,
        Err(why) => {
            notes.lose(from, why);
            return None;
        }
    };
    let mut server = Server::new(address, from);
    match options.number("weight") {
        _ if options.has("disabled") => server.set("weight", 0),
        Some(weight) if weight != 1 => server.set("weight", weight),
        _ => {}
    }
    if options.has("backup") {
        server.set("backup", true);
    }
    if let Some(count) = options.number("maxconn").filter(|count| *count > 0) {
        server.set("max_connections", count);
    }
    if let Some(port) = options.number("port").filter(|_| options.has("check")) {
        server.set("check_port", port);
    }
    Some(server)
}

/// Where to connect to, as an upstream's server has it. One without a port has that to which its clients have come.
fn address(text: &str, client_port: Option<&str>) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Ok(format!("unix:{text}"));
    }
    let text = match text.split_once('@') {
        Some(("unix", path)) => return Ok(format!("unix:{path}")),
        Some(("ipv4" | "ipv6", rest)) => rest,
        Some(_) => return Err("servers are at TCP or at unix sockets with a path"),
        None => text,
    };
    // What has several colons and no brackets ends with a port, too.
    let with_port = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host, port)),
        _ => client_port.map(|port| (text, port)),
    };
    let why = "a server has one port of its own here; make a listener and an upstream for each port to which clients come";
    let (host, port) = with_port.ok_or(why)?;
    if port.starts_with(['+', '-']) || port.is_empty() {
        return Err(why);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(match host {
        host if host.contains(':') => format!("[{host}]:{port}"),
        "*" | "0.0.0.0" => {
            return Err(
                "it is the address that the client asked for, and servers have addresses of their own",
            );
        }
        host => format!("{host}:{port}"),
    })
}

/// `server-template`: servers that a name has. Returns whether it could be carried over.
fn template(line: &Line, options: &Options, upstream: &mut Upstream, notes: &mut Notes) -> bool {
    let from = &line.from;
    let name = &line.words[3];
    if options.has("ssl")
        || upstream
            .tables
            .iter()
            .any(|(name, ..)| *name == "discovery")
    {
        notes.lose(from, "an upstream finds servers of one name, without TLS");
        return false;
    }
    options.note(notes);
    for option in ["weight", "maxconn", "backup"] {
        if let Some(given) = options.get(option) {
            notes.lose(
                &given.from.part(option),
                "servers that a name has are alike: they have weight 1 and no limit of their own",
            );
        }
    }
    let why = "each address that the name has is a server, however many there are";
    notes.remark(from, why);
    upstream
        .table("discovery", from)
        .set("dns", name.trim_end_matches(':'), from);
    true
}

impl Members {
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

    /// Sets a key of the upstream to the time that an option has.
    fn time(&self, name: &str, notes: &mut Notes) -> Option<(Duration, Origin)> {
        let given = self.common(name, notes)?;
        let time = super::time::parse(given.arguments.first()?)?;
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
            source(&given.arguments, &given.from, keys, notes);
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
        for (from, _) in self
            .options
            .iter()
            .filter(|(_, options)| !options.has("check"))
        {
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
        for (from, _) in self
            .options
            .iter()
            .filter(|(_, options)| !options.has("agent-check"))
        {
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

/// `source`: from where servers are connected to.
pub(super) fn source(
    arguments: &[String],
    from: &Origin,
    keys: &mut super::super::plan::Keys,
    notes: &mut Notes,
) {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let pairs = words.get(1..).unwrap_or_default().chunks(2);
    for pair in pairs {
        match pair {
            ["interface", name] => keys.set("interface", *name, from),
            ["usesrc", "client" | "clientip"] => {
                keys.set("source_address", "client", from);
                return;
            }
            _ => {
                notes.lose(
                    from,
                    "servers are connected to from one address, or from the client's",
                );
                return;
            }
        }
    }
    let address = words.first().copied().unwrap_or_default();
    let host = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || address.starts_with('[') => {
            if port != "0" && !port.is_empty() {
                notes.lose(
                    from,
                    "the system chooses the ports from which servers are connected to",
                );
            }
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => address,
    };
    if !matches!(host, "0.0.0.0" | "*" | "::" | "") {
        keys.set("source_address", host, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_servers() {
        for (text, expected) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("db.example.com:5432", "db.example.com:5432"),
            ("192.0.2.1", "192.0.2.1:25"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("[2001:db8::1]", "[2001:db8::1]:25"),
            ("ipv4@a:80", "a:80"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("unix@/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(address(text, Some("25")).as_deref(), Ok(expected), "{text}");
        }
        for text in ["a", "a:", "a:+1", "abns@a", "*:80", "0.0.0.0:80", ""] {
            assert!(address(text, None).is_err(), "{text}");
        }
    }
}
