//! How a `server` block talks to its servers.

use super::super::note::Notes;
use super::super::plan::Keys;
use super::directive::Directive;
use super::scope::Scope;

/// How a `server` block talks to its servers.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// The name of the listener, for upstreams of which there are several.
    pub(super) listener: String,
    /// Keys of the upstream.
    pub(super) keys: Keys,
    /// Whether a client's address is what its peer announces.
    pub(super) is_announced: bool,
    /// Whether there is a header that announces a client, believed or not.
    pub(super) has_header: bool,
}

/// How it talks to servers, which is the upstream's here.
pub(super) fn manner(
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
        if is_announced {
            let why = "servers are told of the address that the client connected to, which its balancer announces; nginx tells of its own";
            notes.remark(from, why);
        } else if has_header {
            let why = "servers are told of the announced client; nginx tells them of the balancer, as it believes no header without `set_real_ip_from`";
            notes.lose(from, why);
        }
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
            text => {
                keys.set("source_address", text, &bind.from);
                if bind.says("transparent") {
                    let from = bind.from.part("transparent");
                    notes.lose(&from, "the address must be one of this machine's, or is the client's (`source_address = \"client\"`)");
                }
            }
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
