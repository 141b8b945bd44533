//! Health checks: `option httpchk`, `tcp-check` and their like.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Upstream};
use super::super::value::Value;
use super::check_connect::{Connect, note_header, rules, said};
use super::check_step::{self, step};
use super::http_check;
use super::inherited::RULES;
use super::options::Options;
use super::proxy::Proxy;
use super::tcp_check;

/// A bind as nobody, and the answer to it (`61`, an `a`) with the result "success" (`0a 01 00`); lengths have up to five bytes.
const LDAP_BIND: &str = "300c020101600702010304008000";
const LDAP_SUCCESS: &str = "(?s-u)^0.{1,5}\\x02\\x01\\x01a.{1,5}\\x0a\\x01\\x00";

/// Fills the table `health` of an upstream, which there is, with what its checks say and expect. `servers` are those that are checked.
pub(super) fn read(
    proxy: &Proxy,
    upstream: &mut Upstream,
    servers: &[(&Origin, &Options)],
    notes: &mut Notes,
) {
    let connect = Connect::of(proxy);
    let is_sent = upstream.keys.get("send_proxy_protocol").is_some();
    note_header(connect.as_ref(), servers, is_sent, notes);
    let by_options = servers.iter().any(|(_, options)| options.has("check-ssl"));
    let is_tls = match &connect {
        Some(connect) => connect.is_tls(by_options),
        None => by_options,
    };
    let from = match (&connect, &proxy.check, upstream.tables.first()) {
        (Some(connect), ..) if is_tls => connect.from.clone(),
        (_, Some(check), _) => check.from.clone(),
        (_, None, Some((_, from, _))) => from.clone(),
        (_, None, None) => return,
    };
    if connect
        .as_ref()
        .is_some_and(|connect| connect.port.is_some())
    {
        // It counts more than those of servers.
        upstream
            .servers
            .iter_mut()
            .for_each(|server| server.keys.retain(|(key, _)| *key != "check_port"));
    }
    let keys = upstream.table("health", &from);
    if let Some(connect) = &connect {
        connect.set(keys, notes);
    }
    if is_tls {
        return handshake(proxy, connect.as_ref(), servers, &from, keys, notes);
    }
    let Some(check) = &proxy.check else {
        return;
    };
    let from = &check.from;
    let words = check.words();
    match words[1..] {
        ["httpchk", ..] => {
            let said = said(proxy, notes);
            http_check::read(check, &said, proxy.has_bare_rules, keys, notes);
        }
        ["tcp-check", ..] => tcp_check::read(&said(proxy, notes), keys, notes),
        ["pgsql-check", ref arguments @ ..] => {
            keys.set("type", "postgres", from);
            user(arguments, from, keys);
        }
        ["mysql-check", ref arguments @ ..] => {
            notes.remark(from, "it logs in by today's protocol, and a server that refuses the user is up");
            keys.set("type", "mysql", from);
            user(arguments, from, keys);
        }
        ["redis-check", ..] => keys.set("type", "redis", from),
        ["ssl-hello-chk", ..] => keys.set("type", "tls", from),
        ["smtpchk", ref hello @ ..] => {
            let hello = match hello {
                [verb, domain, ..] => format!("{verb} {domain}\r\n"),
                _ => "HELO localhost\r\n".to_owned(),
            };
            // The last line of an answer has no hyphen.
            let steps = [
                ("expect", "220"),
                ("send", hello.as_str()),
                ("expect_regex", "(?m)^2[0-9][0-9][ \\r]"),
                ("send", "QUIT\r\n"),
                ("expect_regex", "(?m)^2[0-9][0-9]"),
            ];
            check_step::set(keys, steps.map(|(key, text)| step(key, text, from)).into(), from);
        }
        ["ldap-check", ..] => {
            let steps = [("send_hex", LDAP_BIND), ("expect_regex", LDAP_SUCCESS)];
            check_step::set(keys, steps.map(|(key, text)| step(key, text, from)).into(), from);
        }
        _ => notes.lose(from, "corelane runs no programs; the check is a connect. Use a check of another `type`, or an `agent`"),
    }
}

fn user(arguments: &[&str], from: &Origin, keys: &mut Keys) {
    if let ["user", user, ..] = arguments {
        keys.set("user", *user, from);
    }
}

/// A check inside TLS is a handshake: what HAProxy says and expects there is lost.
fn handshake(
    proxy: &Proxy,
    connect: Option<&Connect>,
    servers: &[(&Origin, &Options)],
    from: &Origin,
    keys: &mut Keys,
    notes: &mut Notes,
) {
    keys.set("type", "tls", from);
    let of_servers = || {
        servers
            .iter()
            .find_map(|(_, options)| options.text("check-sni"))
    };
    let name = connect.and_then(|connect| connect.server_name.as_deref());
    let name = match connect.is_none_or(|connect| connect.is_default) {
        true => name.or_else(of_servers),
        false => name,
    };
    if let Some(name) = name {
        keys.set(
            "tls",
            Value::Table(vec![("server_name", name.into())]),
            from,
        );
    }
    for (_, options) in servers {
        if let Some(given) = options.get("ca-file")
            && options.text("verify") != Some("none")
        {
            let why = "the check's handshake verifies nothing; `verify`, `ca` and `server_name` of [upstreams.NAME.health.tls] have it do so";
            notes.lose(
                &given
                    .from
                    .part(&format!("ca-file {}", given.arguments.join(" "))),
                why,
            );
        }
    }
    if let Some(check) = &proxy.check
        && !matches!(check.words[1].as_str(), "ssl-hello-chk" | "tcp-check")
    {
        notes.lose(&check.from, "a check inside TLS is a handshake, and asks for nothing; the server's port without TLS can be checked by `check_port`");
    }
    let rules = rules(proxy).iter();
    for line in rules.filter(|line| !matches!(line.words[1].as_str(), "connect" | "comment")) {
        notes.lose(
            &line.from,
            "nothing is said inside TLS; the check is a handshake",
        );
    }
}

/// Says which lines of checks HAProxy itself doesn't use: rules without their option, and checks that no server has.
pub(super) fn note_unused(proxy: &Proxy, is_checked: bool, notes: &mut Notes) {
    let option = proxy.check.as_ref().map(|check| check.words[1].as_str());
    let nobody = format!(
        "no server of `{}` has `check`, without which HAProxy itself makes none",
        proxy.name
    );
    for (word, name) in RULES {
        for line in proxy.all(word) {
            if option != Some(name) {
                let why = format!(
                    "HAProxy itself ignores it in `{}`, which has no `option {name}`",
                    proxy.name
                );
                notes.remark(&line.from, why);
            } else if !is_checked {
                notes.remark(&line.from, nobody.as_str());
            }
        }
    }
    if let Some(check) = proxy.check.as_ref().filter(|_| !is_checked) {
        notes.remark(&check.from, nobody);
    }
}
