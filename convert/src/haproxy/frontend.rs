//! A frontend as listeners.

use super::super::access;
use super::super::input::Surroundings;
use super::super::names::Names;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Plan, Route, Said};
use super::super::routing::{self, Rule, Target, Term, Test};
use super::acl::Acls;
use super::backend::{Backends, Upstreams};
use super::bind;
use super::choice;
use super::global::Globals;
use super::keepalive::keepalive;
use super::proxy::Proxy;
use super::rules;
use super::timeouts;

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
    let choice = choice::read(proxy, backends, &acls, surroundings, &mut plan.notes);
    for fallback in choice.fallbacks {
        if let Some(upstream) = plan
            .upstreams
            .iter_mut()
            .find(|known| known.name == fallback.upstream)
        {
            let keys = &mut upstream.keys;
            keys.set("fallback", fallback.substitute, &fallback.from);
        }
    }
    let decisions = [&rules.routes[..], &choice.routes].concat();
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
        routes.extend(any_hello(upstream, &proxy.from));
    }
    let hears = asks_for_hello(&routes) || upstreams.hash_names(plan);
    timeouts::set(proxy, backends, &upstreams, &mut keys, &mut plan.notes);
    limits(proxy, globals, &mut keys);
    keepalive(proxy, "clitcpka", &mut keys);
    if let Some(from) = &globals.no_splice {
        keys.set("splice", false, from);
    }
    for bind in bind::all(proxy, &mut plan.notes) {
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
/// Whether a route asks for what a ClientHello says.
fn asks_for_hello(routes: &[Route]) -> bool {
    let asks = |route: &Route| route.keys.get("sni").or(route.keys.get("alpn")).is_some();
    routes.iter().any(asks)
}

/// The route that asks for any hello at all, so that who says none is known.
fn any_hello(upstream: &Said<String>, from: &Origin) -> Vec<Route> {
    let any = vec![Test::Sni(vec!["*".to_owned()])];
    let is_negated = false;
    let rule = Rule {
        terms: vec![Term { any, is_negated }],
        target: Target::Upstream(upstream.value.clone()),
        from: upstream.from.clone(),
    };
    routing::routes(&[rule], None, from).map_or_else(|_| Vec::new(), |(routes, _)| routes)
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
