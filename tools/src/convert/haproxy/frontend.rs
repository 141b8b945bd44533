//! A frontend as listeners.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::access;
use super::super::input::Surroundings;
use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Plan, Route, Said};
use super::super::routing::{self, Rule, Target, Term, Test};
use super::super::value::Value;
use super::acl::{self, Acls, Asked};
use super::backend::Backends;
use super::bind::{self, Bind};
use super::global::Globals;
use super::keepalive::keepalive;
use super::proxy::Proxy;
use super::rules;
use super::section::Line;

/// Adds the listeners of a frontend: one for all of its binds that have the same options.
pub(super) fn carry(
    proxy: &Proxy,
    backends: &Backends<'_>,
    globals: &Globals,
    names: &mut Names,
    plan: &mut Plan,
    surroundings: &dyn Surroundings,
) {
    if proxy.all("bind").is_empty() {
        plan.notes
            .lose(&proxy.from, "it listens nowhere, as it has no `bind`");
        return;
    }
    let acls = Acls::new(proxy.all("acl"), surroundings);
    let rules = rules::read(proxy, &acls, &mut plan.notes);
    if rules.is_open.is_some() {
        return;
    }
    let others = others(proxy, backends, plan);
    let mut decisions = rules.routes.clone();
    let mut fallbacks = Vec::new();
    for line in proxy.all("use_backend") {
        use_backend(
            line,
            backends,
            &acls,
            surroundings,
            &mut decisions,
            &mut fallbacks,
            &mut plan.notes,
        );
    }
    for (upstream, fallback, from) in fallbacks {
        if let Some(upstream) = plan
            .upstreams
            .iter_mut()
            .find(|known| known.name == upstream)
        {
            upstream.keys.set("fallback", fallback, &from);
        }
    }
    let target = others
        .as_ref()
        .map(|others| Target::Upstream(others.value.clone()));
    let others_from = others.as_ref().map_or(&proxy.from, |others| &others.from);
    let (routes, target) = match routing::routes(&decisions, target, others_from) {
        Ok(routes) => routes,
        Err(why) => {
            plan.notes
                .lose(&proxy.from, format!("{why}; the listener is left out"));
            return;
        }
    };
    let upstream = match target {
        Some(Target::Upstream(name)) => Some(Said::new(name, others_from)),
        _ => None,
    };
    if upstream.is_none() && routes.is_empty() {
        plan.notes.lose(
            &proxy.from,
            "no server of it is left, so the listener is left out",
        );
        return;
    }
    let upstreams = Upstreams::of(&upstream, &routes);
    let mut keys = rules.keys.clone();
    let mut routes = routes;
    if keys.get("not_tls").is_some()
        && !asks_for_hello(&routes)
        && let Some(upstream) = &upstream
    {
        // Somebody must ask for a hello, so that those who say none are known.
        let any = vec![Test::Sni(vec!["*".to_owned()])];
        let is_negated = false;
        let rule = Rule {
            terms: vec![Term { any, is_negated }],
            target: Target::Upstream(upstream.value.clone()),
            from: upstream.from.clone(),
        };
        if let Ok((more, _)) = routing::routes(&[rule], None, &proxy.from) {
            routes.extend(more);
        }
    }
    let hears = asks_for_hello(&routes) || upstreams.hash_names(plan);
    times(proxy, backends, &upstreams, &mut keys, &mut plan.notes);
    limits(proxy, globals, &mut keys);
    keepalive(proxy, "clitcpka", &mut keys);
    if let Some(from) = &globals.no_splice {
        keys.set("splice", false, from);
    }
    for bind in binds(proxy, &mut plan.notes) {
        let mut listener = Listener::new(names.give(&proxy.name), &proxy.from);
        listener.binds = bind.addresses;
        listener.upstream = upstream.clone();
        listener.routes = routes.clone();
        listener.keys = keys.clone();
        for entry in bind.keys.into_entries() {
            listener.keys.set(entry.key, entry.value, &entry.from);
        }
        if listener.keys.get("max_connections").is_some()
            && listener.keys.get("over_limit").is_none()
        {
            wait(&mut listener.keys, &proxy.from);
        }
        let announces = listener.keys.get("accept_proxy_protocol").is_some();
        if !announces
            && !hears
            && let Some(from) = listener.keys.remove("prologue_timeout")
        {
            let why = "nothing is heard of a client before it has a server";
            plan.notes.remark(&from, why);
        }
        let both = !rules.peers.is_empty() && !rules.clients.is_empty();
        let lists = if announces || both {
            ("allow_peer", "deny_peer")
        } else {
            ("allow", "deny")
        };
        access::set(&mut listener.keys, lists, &rules.peers, true);
        access::set(&mut listener.keys, ("allow", "deny"), &rules.clients, true);
        plan.listeners.push(listener);
    }
}

/// The upstream of those that no rule takes.
fn others(proxy: &Proxy, backends: &Backends<'_>, plan: &mut Plan) -> Option<Said<String>> {
    if let Some(line) = proxy.last.get("default_backend") {
        let name = line.words[1].as_str();
        if let Some(backend) = backends.get(name) {
            return Some(Said::new(backend.name.clone(), &line.from));
        }
        plan.notes.lose(
            &line.from,
            "this backend isn't carried over, or isn't there",
        );
        return None;
    }
    let own = backends
        .get(proxy.name.as_str())
        .filter(|own| std::ptr::eq(own.proxy, proxy))?;
    Some(Said::new(own.name.clone(), &proxy.from))
}

/// A backend, the one that stands in for it, and who says so.
type Fallback = (String, String, Origin);

fn use_backend(
    line: &Line,
    backends: &Backends<'_>,
    acls: &Acls<'_>,
    surroundings: &dyn Surroundings,
    decisions: &mut Vec<Rule>,
    fallbacks: &mut Vec<Fallback>,
    notes: &mut Notes,
) {
    let from = &line.from;
    let words = line.words();
    let name = words[1];
    if name.contains("%[") {
        match by_map(name, &words[2..], backends, surroundings, from) {
            Ok(rules) => decisions.extend(rules),
            Err(why) => notes.lose(from, why),
        }
        return;
    }
    let Some(backend) = backends.get(name) else {
        return notes.lose(from, "this backend isn't carried over, or isn't there; what it takes goes on to the next rule");
    };
    let condition = match acls.condition(&words[2..]) {
        Ok(condition) => condition,
        Err(why) => {
            return notes.lose(
                from,
                format!("{why}. What it takes goes on to the next rule"),
            );
        }
    };
    for terms in condition {
        if let [
            acl::Term {
                any,
                is_negated: false,
            },
        ] = &terms[..]
            && let [Asked::AllDown(down)] = &any[..]
            && let Some(down) = backends.get(down.as_str())
        {
            let why = "while no server there is up, this upstream stands in for it (`fallback`)";
            notes.remark(from, why);
            fallbacks.push((down.name.clone(), backend.name.clone(), from.clone()));
            continue;
        }
        match route_terms(&terms) {
            Ok(Some(terms)) => decisions.push(Rule {
                terms,
                target: Target::Upstream(backend.name.clone()),
                from: from.clone(),
            }),
            Ok(None) => {}
            Err(why) => notes.lose(
                from,
                format!("{why}. What it takes goes on to the next rule"),
            ),
        }
    }
}

/// The terms that routes can have; nothing where nobody suits.
fn route_terms(terms: &[acl::Term]) -> Result<Option<Vec<Term>>, &'static str> {
    let mut route_terms = Vec::new();
    for term in terms {
        let mut any = Vec::new();
        let mut is_everybody = false;
        for asked in &term.any {
            match asked {
                Asked::Route(test) => any.push(test.clone()),
                Asked::Everybody => is_everybody = true,
                Asked::Nobody => {}
                // Who says a hello says a name mostly.
                Asked::Hello => any.push(Test::Sni(vec!["*".to_owned()])),
                _ => return Err("a route can't ask how many connections or servers there are"),
            }
        }
        match (is_everybody, any.is_empty(), term.is_negated) {
            (true, _, false) | (false, true, true) => {}
            (true, _, true) | (false, true, false) => return Ok(None),
            (false, false, is_negated) => route_terms.push(Term { any, is_negated }),
        }
    }
    Ok(Some(route_terms))
}

/// `use_backend %[req.ssl_sni,lower,map(FILE,DEFAULT)]`: the routes that the map has.
fn by_map(
    name: &str,
    condition: &[&str],
    backends: &Backends<'_>,
    surroundings: &dyn Surroundings,
    from: &Origin,
) -> Result<Vec<Rule>, String> {
    let inner = name
        .strip_prefix("%[")
        .and_then(|rest| rest.strip_suffix(']'));
    let inner = inner
        .ok_or("a backend's name is made of the server name and a map, and of nothing else")?;
    if !condition.is_empty() {
        return Err("a map with a condition can't be carried over; write its routes".to_owned());
    }
    let start = inner
        .find(",map")
        .ok_or("a backend is found by a map of server names; write the routes")?;
    let (fetched, map) = inner.split_at(start);
    if !matches!(
        fetched.trim_end_matches(",lower"),
        "req.ssl_sni" | "req_ssl_sni"
    ) {
        return Err(
            "corelane knows the server name of TLS, and nothing else that a map could be asked for"
                .to_owned(),
        );
    }
    let (kind, arguments) = map[1..].split_once('(').ok_or("a map has a file")?;
    let arguments = arguments.strip_suffix(')').ok_or("a map ends with a `)`")?;
    let (path, default) = match arguments.split_once(',') {
        Some((path, default)) => (path, Some(default)),
        None => (arguments, None),
    };
    let mut rules = Vec::new();
    for (key, value) in acl::map(path, surroundings)? {
        let names = match kind {
            "map" | "map_str" => vec![key.to_ascii_lowercase()],
            "map_end" | "map_dom" => acl::suffixes(&key),
            _ => {
                return Err(format!(
                    "names are looked up as a whole or by their ends, and not by `{kind}`"
                ));
            }
        };
        let Some(backend) = backends.get(value.as_str()) else {
            return Err(format!(
                "the map has {key} at the backend {value}, which isn't carried over"
            ));
        };
        let any = vec![Test::Sni(names)];
        let is_negated = false;
        rules.push(Rule {
            terms: vec![Term { any, is_negated }],
            target: Target::Upstream(backend.name.clone()),
            from: from.part(&format!("{key} {value}, of {path}")),
        });
    }
    if let Some(backend) = default.and_then(|default| backends.get(default.trim())) {
        rules.push(Rule {
            terms: Vec::new(),
            target: Target::Upstream(backend.name.clone()),
            from: from.clone(),
        });
    }
    Ok(rules)
}

/// Whether a route asks for what a ClientHello says.
fn asks_for_hello(routes: &[Route]) -> bool {
    let asks = |route: &Route| route.keys.get("sni").or(route.keys.get("alpn")).is_some();
    routes.iter().any(asks)
}

/// The names of the upstreams that a listener has, its default first.
struct Upstreams(Vec<String>);

impl Upstreams {
    fn of(default: &Option<Said<String>>, routes: &[Route]) -> Self {
        let of_routes = routes
            .iter()
            .filter_map(|route| match route.keys.get("upstream") {
                Some(Value::Text(name)) => Some(name.clone()),
                _ => None,
            });
        Self(
            default
                .iter()
                .map(|said| said.value.clone())
                .chain(of_routes)
                .collect(),
        )
    }
}

impl Upstreams {
    /// Whether one of them chooses its servers by the name in a ClientHello.
    fn hash_names(&self, plan: &Plan) -> bool {
        let upstreams = plan.upstreams.iter();
        let mut its = upstreams.filter(|upstream| self.0.contains(&upstream.name));
        its.any(|upstream| upstream.keys.get("hash_on").is_some())
    }
}

/// The times of a frontend and of its backends. HAProxy refreshes both times by bytes of either side, so the shorter one counts.
fn times(
    proxy: &Proxy,
    backends: &Backends<'_>,
    upstreams: &Upstreams,
    keys: &mut Keys,
    notes: &mut Notes,
) {
    let by_upstream: BTreeMap<&str, &Proxy> = backends
        .values()
        .map(|backend| (backend.name.as_str(), backend.proxy))
        .collect();
    let its = upstreams
        .0
        .iter()
        .filter_map(|name| by_upstream.get(name.as_str()).copied());
    let mut its: Vec<&Proxy> = its.collect();
    its.dedup_by(|one, other| std::ptr::eq(*one, *other));
    if proxy.options.contains_key("independent-streams") {
        if let Some(time) = proxy.times.get("client") {
            idle(keys, "client_idle_timeout", time);
        }
        if let Some(time) = its.first().and_then(|backend| backend.times.get("server")) {
            idle(keys, "server_idle_timeout", time);
        }
        keys.set("idle_timeout", "off", &proxy.from);
    } else {
        let of = |backend: &Proxy| {
            let tunnel = backend
                .times
                .get("tunnel")
                .or_else(|| proxy.times.get("tunnel"));
            let shorter = [proxy.times.get("client"), backend.times.get("server")];
            let shorter = shorter
                .into_iter()
                .flatten()
                .filter(|time| !time.value.is_zero());
            tunnel
                .or_else(|| shorter.min_by_key(|time| time.value))
                .cloned()
        };
        let all: Vec<_> = its.iter().map(|backend| of(backend)).collect();
        match all.first().cloned().flatten() {
            Some(time) => idle(keys, "idle_timeout", &time),
            None => keys.set(
                "idle_timeout",
                "off",
                &proxy
                    .from
                    .part("no `timeout client` and no `timeout server`"),
            ),
        }
        for (backend, time) in its.iter().zip(&all) {
            let value = |time: &Option<Said<Duration>>| time.as_ref().map(|time| time.value);
            if value(time) != value(&all[0]) {
                let from = time.as_ref().map_or(&backend.from, |time| &time.from);
                notes.lose(from, "a listener has one `idle_timeout` for all its upstreams; make a listener of its own for this one");
            }
        }
    }
    for proxy in std::iter::once(proxy).chain(its.iter().copied()) {
        for name in ["client-fin", "server-fin"] {
            if let Some(time) = proxy.times.get(name) {
                notes.lose(
                    &time.from,
                    "a half-closed connection has `idle_timeout` as any other; `half_closed_timeout` would end it though bytes flow",
                );
            }
        }
        if let Some(time) = proxy.times.get("client-hs") {
            notes.remark(&time.from, "it is about TLS that HAProxy ends");
        }
        for name in ["http-request", "http-keep-alive", "tarpit"] {
            if let Some(time) = proxy.times.get(name) {
                notes.remark(
                    &time.from,
                    "it is about HTTP, and HAProxy itself has no use for it in mode tcp",
                );
            }
        }
    }
}

fn idle(keys: &mut Keys, key: &'static str, time: &Said<Duration>) {
    match time.value.is_zero() {
        true => keys.set(key, "off", &time.from),
        false => keys.set(key, time.value, &time.from),
    }
}

/// Who is beyond a limit of HAProxy's waits in the backlog.
fn limits(proxy: &Proxy, globals: &Globals, keys: &mut Keys) {
    if let Some(limit) = proxy.numbers.get("maxconn").filter(|limit| limit.value > 0) {
        keys.set("max_connections", limit.value, &limit.from);
        wait(keys, &limit.from);
    } else if let Some(from) = &globals.max_connections {
        wait(keys, from);
    }
    if let Some(backlog) = proxy.numbers.get("backlog") {
        keys.set("backlog", backlog.value, &backlog.from);
    }
    let Some(line) = proxy.last.get("rate-limit") else {
        return;
    };
    if let [_, what, rate] = &line.words[..]
        && what == "sessions"
        && let Ok(rate) = rate.parse::<u64>()
        && rate > 0
    {
        keys.set("max_rate", rate, &line.from);
        wait(keys, &line.from);
    }
}

fn wait(keys: &mut Keys, from: &Origin) {
    keys.set("over_limit", "wait", from);
}

/// The binds of a frontend, those with the same options together.
fn binds(proxy: &Proxy, notes: &mut Notes) -> Vec<Bind> {
    let lines = proxy.all("bind");
    // Who has IPv4 for itself leaves IPv6 to others, whichever comes first.
    let mut taken = Vec::new();
    for line in lines {
        let mut alone = Vec::new();
        bind::read(line, &mut alone, &mut Notes::default());
        taken.extend(
            alone
                .into_iter()
                .filter(|address| address.starts_with("0.0.0.0:")),
        );
    }
    let mut groups: Vec<Bind> = Vec::new();
    for line in lines {
        let Some(bind) = bind::read(line, &mut taken, notes) else {
            continue;
        };
        match groups
            .iter_mut()
            .find(|group| group.keys.says_the_same(&bind.keys))
        {
            Some(group) => group.addresses.extend(bind.addresses),
            None => groups.push(bind),
        }
    }
    for group in &mut groups {
        leave_out_parts(&mut group.addresses, notes);
    }
    groups.retain(|group| !group.addresses.is_empty());
    groups
}

/// Leaves out addresses that another one has, too: HAProxy's sockets may share a port.
fn leave_out_parts(addresses: &mut Vec<Said<String>>, notes: &mut Notes) {
    let wide = |address: &str| {
        let (host, port) = address.rsplit_once(':')?;
        matches!(host, "0.0.0.0" | "*" | "[::]").then(|| (host.to_owned(), port.to_owned()))
    };
    let all: Vec<_> = addresses
        .iter()
        .filter_map(|said| wide(&said.value))
        .collect();
    addresses.retain(|said| {
        let Some((host, port)) = said.value.rsplit_once(':') else {
            return true;
        };
        let has_it = |(wider, its): &(String, String)| {
            let family = if host.starts_with('[') {
                "[::]"
            } else {
                "0.0.0.0"
            };
            its == port && wider != host && (wider == "*" || wider == family)
        };
        let is_part = all.iter().any(has_it);
        if is_part {
            notes.remark(&said.from, "an address of all interfaces has it, too");
        }
        !is_part
    });
}
