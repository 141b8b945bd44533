//! A `server` block: a listener, with the settings that stand in it or around it.

use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::plan::{Keys, Listener, Said};
use super::super::value::{Item, Value};
use super::around::Around;
use super::directive::Directive;
use super::listen::{self, Listen};
use super::manner::manner;
use super::scope::Scope;
use super::target::lead;
use super::{access, limits};

/// How long an answer that is under way may take once one side has ended its stream, where nginx ends both at once.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// The listener of a `server` block, unless nothing of it can be carried over, which is said then.
pub(super) fn read(
    block: &Directive,
    around: &mut Around<'_>,
    notes: &mut Notes,
) -> Option<Listener> {
    let scope = Scope {
        block,
        stream: around.stream,
    };
    let mut listener = Listener::new(String::new(), &block.from);
    let mut is_announced = false;
    let listens = scope.all(&["listen"]);
    for listen in &listens {
        if let Listen::Tcp {
            bind,
            is_announced: announced,
        } = listen::read(listen, &mut listener.keys, notes)
        {
            listener.binds.push(Said::new(bind, &listen.from));
            is_announced |= announced;
        }
    }
    if listener.binds.is_empty() {
        if listens.is_empty() {
            notes.lose(&block.from, "it listens nowhere");
        }
        return None;
    }
    let program = |all: &[Directive]| all.iter().find(|one| is_program(&one.name)).cloned();
    let why = "no programs run in the proxy, and this one may decide who gets in";
    if let Some(program) = program(block.inner()) {
        notes.lose(&program.from, format!("the listener is left out: {why}"));
        return None;
    }
    if let Some(program) = program(around.stream) {
        notes.lose(&program.from, why);
        let why = format!("it is left out, as `{}` stands around it", program.name);
        notes.lose(&block.from, why);
        return None;
    }
    let trusts = is_announced && scope.find("set_real_ip_from").is_some();
    name(&mut listener, &scope, &mut around.names);
    settings(&scope, is_announced, trusts, &mut listener.keys, notes)?;
    let manner = manner(&scope, &listener.name, (is_announced, trusts), notes);
    lead(&scope, &manner, around, &mut listener, notes)?;
    Some(listener)
}

/// Whether a directive runs a program on connections.
fn is_program(name: &str) -> bool {
    matches!(name, "js_access" | "js_preread" | "js_filter")
        || name.contains("_by_lua") && !name.starts_with("init_")
}

/// Names a listener by the upstream that it leads to, or by its port.
fn name(listener: &mut Listener, scope: &Scope<'_>, names: &mut Names) {
    let target = scope.find("proxy_pass").map_or("", Directive::value);
    let is_plain = |target: &str| !target.is_empty() && !target.contains(['$', ':', '/', '[']);
    let bind = &listener.binds[0].value;
    let wanted = match is_plain(target) {
        true => target.to_owned(),
        false => match bind.strip_prefix("unix:") {
            Some(path) => path.trim_matches('/').replace('/', "-"),
            None => format!("port-{}", bind.rsplit(':').next().unwrap_or_default()),
        },
    };
    listener.name = names.give(&wanted);
}

/// Times, limits and rules.
fn settings(
    scope: &Scope<'_>,
    is_announced: bool,
    trusts: bool,
    keys: &mut Keys,
    notes: &mut Notes,
) -> Option<()> {
    let (idle, from) = scope.time("proxy_timeout", 600, notes);
    keys.set("idle_timeout", idle, &from);
    if !scope.is_on("proxy_half_close") {
        let from = match scope.find("proxy_half_close") {
            Some(directive) => directive.from.clone(),
            None => scope
                .block
                .from
                .part("proxy_half_close off is nginx's default"),
        };
        keys.set("half_closed_timeout", HALF_CLOSED, &from);
    }
    let heard = match (scope.is_on("ssl_preread"), is_announced) {
        (true, _) => Some("preread_timeout"),
        (false, true) => Some("proxy_protocol_timeout"),
        _ => None,
    };
    if let Some(name) = heard {
        let (heard, from) = scope.time(name, 30, notes);
        keys.set("prologue_timeout", heard, &from);
    }
    if let Some(preread) = scope.find("ssl_preread").filter(|one| one.value() == "on") {
        let why = "a client that says nothing is closed by nginx after `preread_timeout`; here it goes on as one without TLS (`not_tls = \"refuse\"` refuses all that speak no TLS)";
        notes.remark(&preread.from, why);
    }
    if is_announced {
        trusted(scope, keys, notes);
    }
    limits::bandwidth(scope, keys, notes);
    limits::connections(scope, trusts, keys, notes);
    let rules = scope.all(&["allow", "deny"]);
    let names = match is_announced && !trusts {
        true => ("allow_peer", "deny_peer"),
        false => ("allow", "deny"),
    };
    if access::set(&rules, names, keys, notes).is_err() {
        notes.lose(
            &scope.block.from,
            "it is left out: without these rules it would let in everybody",
        );
        return None;
    }
    Some(())
}

/// Who may announce clients.
fn trusted(scope: &Scope<'_>, keys: &mut Keys, notes: &mut Notes) {
    let all = scope.all(&["set_real_ip_from"]);
    let Some(first) = all.first() else {
        let from = scope
            .find("listen")
            .map_or(&scope.block.from, |listen| &listen.from);
        let why = "the announced client is believed here, too, by limits and logs; name the balancers as `trusted`";
        return notes.remark(from, why);
    };
    let nets = all.iter().filter(|directive| directive.value() != "unix:");
    let nets: Value = nets
        .map(|directive| Item::new(directive.value(), &directive.from))
        .collect();
    keys.set("trusted", nets, &first.from);
    notes.lose(
        &first.from,
        "who is not trusted is refused; in nginx it must send a header, too, which is not believed (`untrusted = \"plain\"` takes it without one)",
    );
}
