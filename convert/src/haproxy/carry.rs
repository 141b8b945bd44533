//! Proxies of HAProxy's as listeners and upstreams.

use std::collections::HashSet;

use super::super::input::Surroundings;
use super::super::names::Names;
use super::super::plan::{Plan, Server, Upstream};
use super::backend::{Backend, Backends};
use super::frontend;
use super::global::Globals;
use super::keepalive::keepalive;
use super::proxy::Proxy;
use super::section::Line;
use super::server;
use super::source;
use super::stats;
use super::useless;

/// Options that are carried over, in whatever place.
const CARRIED: [&str; 15] = [
    "allbackups",
    "clitcpka",
    "external-check",
    "httpchk",
    "independent-streams",
    "ldap-check",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "smtpchk",
    "srvtcpka",
    "ssl-hello-chk",
    "tcp-check",
    "tcpka",
    "tcplog",
];

/// Adds what the proxies are here.
pub(super) fn carry(
    proxies: &[Proxy],
    globals: &Globals,
    plan: &mut Plan,
    surroundings: &dyn Surroundings,
) {
    let mut carried = Vec::new();
    for proxy in proxies {
        if proxy.is_disabled {
            plan.notes
                .remark(&proxy.from, "it is disabled, and left out");
        } else if proxy.is_tcp() {
            carried.push(proxy);
        } else if !stats::carry(proxy, plan) {
            let why = "corelane forwards TCP and reads no HTTP; keep this section where it is, or make it `mode tcp`";
            plan.notes.lose(&proxy.from, why);
        }
    }
    let mut names = Names::default();
    let mut backends = Backends::new();
    for proxy in carried.iter().filter(|proxy| has_servers(proxy)) {
        let name = names.give(&proxy.name);
        backends.insert(&proxy.name, Backend { name, proxy });
    }
    for proxy in &carried {
        note_options(proxy, plan);
        if let Some(backend) = backends
            .get(proxy.name.as_str())
            .filter(|backend| std::ptr::eq(backend.proxy, *proxy))
        {
            let port = client_port(proxy, &carried);
            let mut upstreams = upstreams(proxy, (&backend.name, port), &mut names, globals, plan);
            plan.upstreams.append(&mut upstreams);
        } else if proxy.kind == "backend" {
            plan.notes.lose(
                &proxy.from,
                "it has no servers, so there is nothing to connect to",
            );
        }
    }
    let mut names = Names::default();
    for proxy in carried.iter().filter(|proxy| proxy.is_frontend()) {
        frontend::carry(proxy, &backends, globals, &mut names, plan, surroundings);
    }
    // HAProxy closes the clients of a backend without servers; those of an upstream that isn't there can't be routed.
    let known: HashSet<String> = plan
        .upstreams
        .iter()
        .map(|upstream| upstream.name.clone())
        .collect();
    for listener in &mut plan.listeners {
        listener
            .upstream
            .take_if(|upstream| !known.contains(&upstream.value));
    }
}

fn has_servers(proxy: &Proxy) -> bool {
    let some = |word| !proxy.all(word).is_empty();
    proxy.is_backend()
        && (some("server") || some("server-template") || proxy.last.contains_key("dispatch"))
}

fn note_options(proxy: &Proxy, plan: &mut Plan) {
    let mut options: Vec<_> = proxy.options.iter().collect();
    options.sort_by_key(|(name, line)| (line.from.place.line, *name));
    for (name, line) in options {
        match name.as_str() {
            "tcplog" => {
                plan.access_log.set("path", "stdout", &line.from);
            }
            name if CARRIED.contains(&name) => {}
            name => match useless::option(name) {
                (true, why) => plan.notes.lose(&line.from, why),
                (false, why) => plan.notes.remark(&line.from, why),
            },
        }
    }
    if let Some(fullconn) = proxy.numbers.get("fullconn") {
        plan.notes.lose(
            &fullconn.from,
            "the limit of a server is the same whatever the load is",
        );
    }
}

/// The port to which the clients of a backend come, if there is one only.
fn client_port<'p>(backend: &Proxy, proxies: &[&'p Proxy]) -> Option<&'p str> {
    let name = Some(&backend.name);
    let goes_there = |line: &Line| line.words.get(1) == name;
    let uses = |proxy: &&&Proxy| {
        let is_default = proxy.last.get("default_backend").is_some_and(goes_there);
        proxy.name == backend.name && proxy.kind == "listen"
            || is_default
            || proxy.all("use_backend").iter().any(goes_there)
    };
    let frontends = proxies.iter().filter(uses);
    let addresses = frontends.flat_map(|proxy| proxy.all("bind"));
    let addresses = addresses.flat_map(|line| line.words[1].split(','));
    let mut ports = addresses.map(|address| address.rsplit(':').next().unwrap_or_default());
    let first = ports.next()?;
    let is_port = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && ports.all(|port| port == first)).then_some(first)
}

/// The upstream of a backend, and one of its backups where only one of them may serve at a time.
fn upstreams(
    proxy: &Proxy,
    (name, client_port): (&str, Option<&str>),
    names: &mut Names,
    globals: &Globals,
    plan: &mut Plan,
) -> Vec<Upstream> {
    let notes = &mut plan.notes;
    let mut upstream = Upstream::new(name.to_owned(), &proxy.from);
    if let Some(line) = proxy.last.get("balance") {
        match balance(&line.words) {
            Some((balance, hash_on)) => {
                upstream.keys.set("balance", balance, &line.from);
                if let Some(hash_on) = hash_on {
                    upstream.keys.set("hash_on", hash_on, &line.from);
                }
            }
            None => notes.lose(
                &line.from,
                "corelane reads no HTTP and no RDP to balance by; it takes turns",
            ),
        }
    }
    stick(proxy, &mut upstream, plan);
    let notes = &mut plan.notes;
    if let Some(time) = proxy.times.get("connect") {
        upstream.keys.set("connect_timeout", time.value, &time.from);
    }
    keepalive(proxy, "srvtcpka", &mut upstream.keys);
    if let Some(line) = proxy.last.get("source") {
        source::set(&line.words[1..], &line.from, &mut upstream.keys, notes);
    }
    let backups = server::read(proxy, client_port, &mut upstream, notes);
    if let Some(line) = proxy.last.get("dispatch") {
        upstream
            .servers
            .push(Server::new(line.words[1].as_str(), &line.from));
    }
    if let Some(spread) = globals.spread.as_ref()
        && let Some((.., health)) = upstream
            .tables
            .iter_mut()
            .find(|(name, ..)| *name == "health")
    {
        health.set("jitter", format!("{}%", spread.value), &spread.from);
    }
    let Some(first) = backups.first().map(|server| server.from.clone()) else {
        return vec![upstream];
    };
    let from = first.part("without `option allbackups`, only the first backup that is up serves");
    let mut others = Upstream::new(names.give(&format!("{name}-backup")), &from);
    others.servers = backups;
    others.keys = upstream.keys.clone();
    others.keys.set("balance", "first", &from);
    others.tables = upstream
        .tables
        .iter()
        .filter(|(name, ..)| *name != "discovery")
        .cloned()
        .collect();
    if upstream.servers.is_empty() {
        // There are backups only.
        others.name = name.to_owned();
        return vec![others];
    }
    upstream.keys.set("fallback", others.name.as_str(), &from);
    vec![upstream, others]
}

/// How servers are chosen, and by what they are hashed.
fn balance(words: &[String]) -> Option<(&'static str, Option<&'static str>)> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Some(match words[1..] {
        ["roundrobin" | "static-rr", ..] => ("round-robin", None),
        ["leastconn", ..] => ("least-connections", None),
        ["first", ..] => ("first", None),
        ["source", ..] => ("source-hash", None),
        ["hash", expression, ..] => match expression.split(',').next()? {
            "src" => ("source-hash", None),
            "req.ssl_sni" | "req_ssl_sni" => ("source-hash", Some("sni")),
            _ => return None,
        },
        [random, ..] if random.starts_with("random") => ("random-two", None),
        _ => return None,
    })
}

/// `stick`: a client that comes back gets the server that it had.
fn stick(proxy: &Proxy, upstream: &mut Upstream, plan: &mut Plan) {
    let mut is_by_source = false;
    for line in proxy.all("stick") {
        let words = line.words();
        match words[1..] {
            ["on", expression, ..] if expression.split(',').next() == Some("src") => {
                is_by_source = true;
                upstream.keys.set("balance", "source-hash", &line.from);
                let why = "nothing is remembered: a hash of the source has a client find the same server while the servers stay the same, on \
                           every proxy. A table keeps it there when others come back, too";
                plan.notes.remark(&line.from, why);
            }
            ["on" | "match" | "store-request", expression, ..] if expression.contains("ssl_sni") => {
                upstream.keys.set("balance", "source-hash", &line.from);
                upstream.keys.set("hash_on", "sni", &line.from);
                plan.notes.remark(&line.from, "nothing is remembered: a hash of the name finds the same server");
            }
            _ => plan.notes.lose(
                &line.from,
                "corelane remembers no clients, and reads nothing of them but their ClientHello; `balance = \"source-hash\"` goes by the source",
            ),
        }
    }
    if let Some(line) = proxy.last.get("stick-table") {
        let why = match is_by_source {
            true => "a hash needs no table",
            false => "sources are counted where a limit of them asks for it",
        };
        plan.notes.remark(&line.from, why);
    }
}
