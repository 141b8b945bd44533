//! A frontend as listeners.

use std::rc::Rc;

use super::super::access;
use super::super::input::Surroundings;
use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Plan, Route, Said};
use super::super::routing::{self, Rule, Target, Term, Test};
use super::acl::Acls;
use super::backend::{Backends, Upstreams};
use super::bind;
use super::choice::{self, Fallback};
use super::client::Client;
use super::decision::{self, Decision, Verdict};
use super::global::Globals;
use super::guard::Guards;
use super::hearing::Hearing;
use super::keepalive::keepalive;
use super::proxy::Proxy;
use super::rules::{self, Rules, Whose};
use super::section::Line;
use super::timeouts;

/// Adds the listeners of a frontend: one for all of its binds that have the same options.
pub(super) fn carry(
    proxy: &Proxy,
    (backends, guards): (&Backends<'_>, &Guards),
    globals: &Globals,
    names: &mut Names,
    fallbacks: &mut Vec<Fallback>,
    plan: &mut Plan,
    surroundings: &dyn Surroundings,
) {
    if proxy.all("bind").is_empty() {
        plan.notes
            .lose(&proxy.from, "it listens nowhere, as it has no `bind`");
        return;
    }
    let acls = Acls::new(proxy.all("acl"), surroundings);
    let mut rules = rules::read(proxy, Whose::Listener, &acls, &mut plan.notes);
    if rules.is_open.is_some() {
        return;
    }
    let others = others(proxy, backends, plan);
    let others_from = others.as_ref().map_or(&proxy.from, |others| &others.from);
    let rest = Decision {
        terms: Vec::new(),
        verdict: match &others {
            Some(others) => Verdict::Upstream(others.value.clone()),
            None => Verdict::Reject,
        },
        from: others_from.clone(),
    };
    let choice = choice::read(proxy, rest, backends, &acls, surroundings, &mut plan.notes);
    fallbacks.extend(choice.fallbacks);
    let is_announced = rules.keys.get("accept_proxy_protocol").is_some()
        || proxy.all("bind").iter().any(announces);
    let (peers, clients, stages) = stages(&mut rules, is_announced);
    let decided = decide(proxy, &choice.decisions, &stages, guards, &mut plan.notes);
    let (routes, target, not_tls) = match decided {
        Ok(decided) => decided,
        Err((from, why)) => {
            let why = format!("{why}; the listener is left out");
            return plan.notes.lose(&from, why);
        }
    };
    if let Some(from) = not_tls {
        rules.keys.set("not_tls", "refuse", &from);
    }
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
    let mut keys = rules.keys;
    let mut routes = routes;
    guards.wait(upstreams.names(), &mut keys);
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
        if bind.keys.get("accept_proxy_protocol").is_some() {
            // Everybody who comes here announces a client.
            listener.keys.remove("trusted");
            listener.keys.remove("untrusted");
        }
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
        let both = !peers.is_empty() && !clients.is_empty();
        let lists = if announces || both {
            ("allow_peer", "deny_peer")
        } else {
            ("allow", "deny")
        };
        access::set(&mut listener.keys, lists, &peers, true);
        access::set(&mut listener.keys, ("allow", "deny"), &clients, true);
        plan.listeners.push(listener);
    }
}

/// Whether who comes by a bind announces clients.
fn announces(bind: &Line) -> bool {
    bind.words.iter().any(|word| word == "accept-proxy")
}

/// What lists say of those who have connected, and of clients; and what is left of each stage.
fn stages(
    rules: &mut Rules,
    is_announced: bool,
) -> (Vec<access::Rule>, Vec<access::Rule>, [Vec<Decision>; 3]) {
    let (peers, mut connection) = decision::lists(std::mem::take(&mut rules.connection));
    let (mut clients, session) = decision::lists(std::mem::take(&mut rules.session));
    let (more, mut content) = decision::lists(rules.content.clone());
    if is_announced {
        connection = connection.into_iter().map(Decision::of_peer).collect();
    }
    let accepts = |rule: &access::Rule| rule.allows;
    if clients.is_empty() || !clients.iter().chain(&more).any(accepts) {
        clients.extend(more);
    } else {
        // Who one stage accepts may be refused by the next one.
        content = std::mem::take(&mut rules.content);
    }
    (peers, clients, [connection, session, content])
}

/// Rules of which each would be there as often as others accept their clients.
const ACCEPTED_MAX: usize = 100_000;

/// The routes, where those go that no route takes, and the rule that refuses who speaks no TLS.
///
/// # Errors
/// What can't be carried over, so that the listener isn't, and why.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn decide(
    proxy: &Proxy,
    choice: &[Decision],
    stages: &[Vec<Decision>; 3],
    guards: &Guards,
    notes: &mut Notes,
) -> Result<(Vec<Route>, Option<Target>, Option<Origin>), (Origin, String)> {
    let wrong = |why: &str| (proxy.from.clone(), why.to_owned());
    let accepting = stages.iter().flatten();
    let accepting = accepting.filter(|decision| decision.verdict == Verdict::Accept);
    if (accepting.count() + 1) * (choice.len() + guards.len()) > ACCEPTED_MAX {
        return Err(wrong("its rules would become too many routes"));
    }
    let rules = |client: Client| {
        let none: Rc<[Rule]> = Rc::default();
        let chosen = guards.before(&decision::rules(choice, client, &none), proxy, client);
        let stages = stages.iter().rev();
        stages.fold(chosen, |next, stage| decision::rules(stage, client, &next))
    };
    let heard = Hearing::of(rules, notes)?;
    let (routes, target) = routing::routes(&heard.rules, None, &proxy.from).map_err(wrong)?;
    Ok((routes, target, heard.not_tls))
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
