//! A `server` block: a listener, with the settings that stand in it or around it.

use std::time::Duration;

use super::super::names::Names;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Route, Said};
use super::super::value::{Item, Value};
use super::access;
use super::branch::{Branch, To};
use super::choice::{Choice, Variables};
use super::directive::Directive;
use super::listen::{self, Listen};
use super::units::{size_text, time};
use super::upstream::{Manner, Upstreams, rate};

/// What `server` blocks share.
pub(super) struct Around<'d> {
    /// The directives of `stream {}`.
    pub(super) stream: &'d [Directive],
    pub(super) upstreams: Upstreams<'d>,
    pub(super) names: Names,
}

/// How long an answer that is under way may take once one side has ended its stream, where nginx ends both at once.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// A `server` block with the ones around it.
struct Scope<'d> {
    block: &'d Directive,
    stream: &'d [Directive],
}

impl<'d> Scope<'d> {
    /// The directive of this name: the block's, or else the one around it.
    fn find(&self, name: &str) -> Option<&'d Directive> {
        self.all(&[name]).first().copied()
    }

    /// All directives of these names: the block's, or else those around it.
    fn all(&self, names: &[&str]) -> Vec<&'d Directive> {
        let of = |directives: &'d [Directive]| {
            let all = directives.iter();
            all.filter(|one| names.contains(&one.name.as_str()))
                .collect::<Vec<_>>()
        };
        let own = of(self.block.inner());
        if own.is_empty() { of(self.stream) } else { own }
    }

    fn is_on(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|directive| directive.value() == "on")
    }

    /// A time, or nginx's default for it.
    fn time(&self, name: &str, default: u64, notes: &mut Notes) -> (Duration, Origin) {
        let default = Duration::from_secs(default);
        match self.find(name) {
            None => {
                let said = format!("{name} {}s is nginx's default", default.as_secs());
                (default, self.block.from.part(&said))
            }
            Some(directive) => match time(directive.value()) {
                Some(time) => (time, directive.from.clone()),
                None => {
                    notes.lose(&directive.from, "this is no time; nginx's default is taken");
                    (default, directive.from.clone())
                }
            },
        }
    }
}

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
    if let Some(program) = block
        .inner()
        .iter()
        .find(|directive| is_program(&directive.name))
    {
        let why = "the listener is left out: no programs run in the proxy, and this one may decide who gets in";
        notes.lose(&program.from, why);
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
    matches!(name, "js_access" | "js_preread" | "js_filter") || name.contains("_by_lua")
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
    if is_announced {
        trusted(scope, keys, notes);
    }
    bandwidth(scope, keys, notes);
    limits(scope, trusts, keys, notes);
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
        let why = "the announced client is believed here, by routes and limits, too; name the balancers as `trusted`";
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

/// Bytes a second: one limit for both ways here.
fn bandwidth(scope: &Scope<'_>, keys: &mut Keys, notes: &mut Notes) {
    let limit = |name| {
        scope
            .find(name)
            .and_then(|directive| Some((rate(directive.value())?, directive)))
    };
    match (limit("proxy_download_rate"), limit("proxy_upload_rate")) {
        (Some((down, directive)), Some((up, _))) if down == up => {
            keys.set("bandwidth_per_connection", size_text(down), &directive.from);
        }
        (None, None) => {}
        (one, other) => {
            for (_, directive) in [one, other].into_iter().flatten() {
                let why = "a connection's bytes are limited the same both ways; if that suits, write it as `bandwidth_per_connection`";
                notes.lose(&directive.from, why);
            }
        }
    }
}

/// Connections, of each source or of all.
fn limits(scope: &Scope<'_>, trusts: bool, keys: &mut Keys, notes: &mut Notes) {
    for limit in scope.all(&["limit_conn"]) {
        let zone = scope.stream.iter().find(|zone| {
            zone.name == "limit_conn_zone"
                && zone.named("zone").and_then(|zone| zone.split(':').next()) == Some(limit.value())
        });
        let number = limit
            .argument(1)
            .and_then(|number| number.parse::<u64>().ok());
        let (Some(zone), Some(number)) = (zone, number) else {
            notes.lose(&limit.from, "its zone or its number is missing");
            continue;
        };
        match zone.value() {
            "$binary_remote_addr"
            | "$remote_addr"
            | "$proxy_protocol_addr"
            | "$realip_remote_addr" => {
                keys.set("max_connections_per_source", number, &limit.from);
                if keys.get("accept_proxy_protocol").is_some() && !trusts {
                    notes.lose(
                        &limit.from,
                        "the clients that headers announce are counted, not who sends these",
                    );
                }
                // nginx has no networks there.
                keys.set("source_prefix", 128_u64, &limit.from);
                notes.remark(
                    &limit.from,
                    "it counts for this listener; in nginx for all that use the zone",
                );
            }
            "$server_addr" | "$server_port" => keys.set("max_connections", number, &limit.from),
            constant if !constant.contains('$') => keys.set("max_connections", number, &limit.from),
            _ => notes.lose(
                &limit.from,
                "connections are counted by source or together, not by this variable",
            ),
        }
    }
    if scope.is_on("limit_conn_dry_run") {
        let from = &scope.block.from;
        notes.lose(from, "`limit_conn_dry_run`: limits are in force here");
    }
}

/// How it talks to servers, which is the upstream's here.
fn manner(
    scope: &Scope<'_>,
    listener: &str,
    (has_header, is_announced): (bool, bool),
    notes: &mut Notes,
) -> Manner {
    let mut keys = Keys::default();
    let (connect, from) = scope.time("proxy_connect_timeout", 60, notes);
    keys.set("connect_timeout", connect, &from);
    if scope.is_on("proxy_protocol") {
        let version = scope.find("proxy_protocol_version");
        let from = scope
            .find("proxy_protocol")
            .map_or(&scope.block.from, |found| &found.from);
        let version = version.map_or("1", Directive::value);
        keys.set("send_proxy_protocol", format!("v{version}"), from);
    }
    if let Some(bind) = scope.find("proxy_bind") {
        match bind.value() {
            "off" => {}
            "$remote_addr" if bind.says("transparent") => {
                keys.set("source_address", "client", &bind.from)
            }
            text if text.contains('$') => {
                notes.lose(
                    &bind.from,
                    "a source address is written out, or is the client's (`source_address`)",
                );
            }
            text => keys.set("source_address", text, &bind.from),
        }
    }
    if let Some(next) = scope
        .find("proxy_next_upstream")
        .filter(|next| next.value() == "off")
    {
        notes.lose(&next.from, "a connection tries each server once; a `retry_budget` limits how many are tried for all of them together");
    }
    for name in ["proxy_next_upstream_tries", "proxy_next_upstream_timeout"] {
        if let Some(limit) = scope.find(name).filter(|limit| limit.value() != "0") {
            notes.lose(&limit.from, "a connection tries each server once; a `retry_budget` limits how many are tried for all of them together");
        }
    }
    Manner {
        listener: listener.to_owned(),
        keys,
        is_announced,
        has_header,
    }
}

/// Where connections go.
fn lead(
    scope: &Scope<'_>,
    manner: &Manner,
    around: &mut Around<'_>,
    listener: &mut Listener,
    notes: &mut Notes,
) -> Option<()> {
    let Some(pass) = scope.find("proxy_pass") else {
        let said = scope.find("return").or(scope.find("pass"));
        let from = said.map_or(&scope.block.from, |said| &said.from);
        notes.lose(from, "the listener is left out, as it has no `proxy_pass`: answers of the proxy itself are not known here");
        return None;
    };
    if let Some(ssl) = scope.find("proxy_ssl").filter(|ssl| ssl.value() == "on") {
        notes.lose(&ssl.from, "the listener is left out: TLS to servers is not made here, and what clients say must not go in the clear");
        return None;
    }
    let lose = |notes: &mut Notes, why: String| {
        notes.lose(&pass.from, format!("the listener is left out: {why}"));
        None
    };
    // Variables of the block itself come before those around it.
    let mut variables = Variables::default();
    variables.add_all(around.stream);
    variables.add_all(scope.block.inner());
    let Choice { branches, losses } = match variables.choose(pass.value(), &pass.from) {
        Ok(choice) => choice,
        Err(why) => return lose(notes, why),
    };
    for (from, why) in losses {
        notes.lose(&from, why);
    }
    let hears = |branch: &Branch| {
        branch
            .conditions
            .iter()
            .any(|(key, _)| matches!(*key, "sni" | "alpn"))
    };
    if branches.iter().any(hears) && !scope.is_on("ssl_preread") {
        notes.remark(&pass.from, "without `ssl_preread` nginx doesn't know what clients of TLS ask for; here the routes do");
    }
    let (rest, routed) = branches
        .split_last()
        .map_or((None, &[][..]), |(last, before)| {
            let is_rest = last.conditions.is_empty() && matches!(last.to, To::Value(_));
            if is_rest {
                (Some(last), before)
            } else {
                (None, &branches[..])
            }
        });
    for group in routed.chunk_by(Branch::is_like) {
        match route(group, manner, around, notes) {
            Ok(route) => listener.routes.push(route),
            Err(why) => return lose(notes, why),
        }
    }
    if let Some(Branch {
        to: To::Value(value),
        from,
        ..
    }) = rest
    {
        match upstream(value, manner, around, from, notes) {
            Ok(name) => listener.upstream = name.map(|name| Said::new(name, from)),
            Err(why) => return lose(notes, why),
        }
    }
    if listener.upstream.is_none() && listener.routes.is_empty() {
        return lose(notes, "it leads nowhere".to_owned());
    }
    Some(())
}

/// The upstream of a value; none where the value is empty, and nginx closes the connection.
fn upstream(
    value: &str,
    manner: &Manner,
    around: &mut Around<'_>,
    from: &Origin,
    notes: &mut Notes,
) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    around.upstreams.lead(value, manner, from, notes).map(Some)
}

/// The route of branches that differ in the values of one condition.
fn route(
    group: &[Branch],
    manner: &Manner,
    around: &mut Around<'_>,
    notes: &mut Notes,
) -> Result<Route, String> {
    let first = &group[0];
    let from = &first.from;
    let mut keys = Keys::default();
    for (index, (key, _)) in first.conditions.iter().enumerate() {
        let values = group.iter().flat_map(|branch| {
            let values = branch.conditions[index].1.iter();
            values.map(|value| match group.len() {
                1 => Item::from(value.as_str()),
                _ => Item::new(value.as_str(), &branch.from),
            })
        });
        keys.set(key, values.collect::<Value>(), from);
    }
    match &first.to {
        To::Value(value) => match upstream(value, manner, around, from, notes)? {
            Some(name) => keys.set("upstream", name, from),
            None => keys.set("reject", true, from),
        },
        To::Split(parts) => {
            let mut weights = Vec::new();
            for (value, weight) in parts {
                match upstream(value, manner, around, from, notes)? {
                    Some(name) => weights.push((name, *weight)),
                    None => notes.lose(from, "the share that leads nowhere is left out"),
                }
            }
            keys.set("upstreams", Value::Weights(weights), from);
        }
    }
    let from = from.clone();
    Ok(Route { from, keys })
}
