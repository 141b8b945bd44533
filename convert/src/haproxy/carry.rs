//! Proxies of HAProxy's as listeners and upstreams.

use std::collections::HashSet;
use std::time::Duration;

use super::super::input::Surroundings;
use super::super::names::Names;
use super::super::plan::{Plan, Server, Upstream};
use super::backend::{Backend, Backends};
use super::balance;
use super::fallback;
use super::frontend;
use super::global::Globals;
use super::guard::Guards;
use super::keepalive::keepalive;
use super::proxy::Proxy;
use super::section::Line;
use super::server;
use super::source;
use super::stats;
use super::useless;

/// How long Linux tries to connect, where `net.ipv4.tcp_syn_retries` is as it comes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);

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
        } else if proxy.kind == "backend" && proxy.last.contains_key("stick-table") {
            let why =
                "it has a table and no servers: limits that go by it are those of the listeners";
            plan.notes.remark(&proxy.from, why);
        } else if proxy.kind == "backend" {
            plan.notes.lose(
                &proxy.from,
                "it has no servers, so there is nothing to connect to",
            );
        }
    }
    let guards = Guards::read(&carried, &backends, surroundings, &mut plan.notes);
    let mut names = Names::default();
    let mut fallbacks = Vec::new();
    for proxy in carried.iter().filter(|proxy| proxy.is_frontend()) {
        let there = (&backends, &guards);
        frontend::carry(
            proxy,
            there,
            globals,
            &mut names,
            &mut fallbacks,
            plan,
            surroundings,
        );
    }
    fallback::set(&fallbacks, &backends, &guards, plan);
    // HAProxy closes the clients of a backend without servers; those of an upstream that isn't there can't be routed.
    let known: HashSet<String> = plan
        .upstreams
        .iter()
        .map(|upstream| upstream.name.clone())
        .collect();
    for listener in &mut plan.listeners {
        globals
            .buffers
            .client
            .iter()
            .for_each(|buffer| buffer.set(&mut listener.keys));
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
    balance::set(proxy, &mut upstream.keys, notes);
    match proxy
        .times
        .get("connect")
        .filter(|time| !time.value.is_zero())
    {
        Some(time) => upstream.keys.set("connect_timeout", time.value, &time.from),
        None => {
            let from = proxy
                .from
                .part("no `timeout connect`: the system gives up, after about two minutes");
            upstream.keys.set("connect_timeout", CONNECT_TIMEOUT, &from);
        }
    }
    globals
        .buffers
        .server
        .iter()
        .for_each(|buffer| buffer.set(&mut upstream.keys));
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
