//! How the servers of an `upstream` block are chosen.

use super::super::note::Notes;
use super::super::plan::{Keys, Upstream};
use super::directive::Directive;
use super::manner::Manner;

/// A directive of an `upstream` block that is no server.
pub(super) fn balance(
    directive: &Directive,
    manner: &Manner,
    upstream: &mut Upstream,
    notes: &mut Notes,
) {
    let from = &directive.from;
    let keys = &mut upstream.keys;
    match directive.name.as_str() {
        "least_conn" => keys.set("balance", "least-connections", from),
        "hash" => hash(directive, manner, keys, notes),
        "random" => {
            keys.set("balance", "random-two", from);
            if directive
                .argument(1)
                .is_some_and(|method| method.starts_with("least_time"))
            {
                keys.set("compare_by", "connect-time", from);
            } else if directive.value() != "two" {
                notes.lose(from, "of two servers that are drawn at random, the one with fewer connections is taken");
            }
        }
        "least_time" => {
            keys.set("balance", "random-two", from);
            keys.set("compare_by", "connect-time", from);
            if directive.value() != "connect" {
                notes.lose(
                    from,
                    "servers are compared by the time that connects take, not by that of bytes",
                );
            }
        }
        // All workers see the same state here.
        "zone" => {}
        "resolver" | "resolver_timeout" => notes.remark(from, RESOLVER),
        _ => notes.lose(from, "corelane has nothing like it for an upstream"),
    }
}

/// Why a `resolver` needs nothing.
pub(super) const RESOLVER: &str = "names are asked of those in /etc/resolv.conf, again when their TTL is over; an upstream of one name with `resolve` asks these";

fn hash(directive: &Directive, manner: &Manner, keys: &mut Keys, notes: &mut Notes) {
    let from = &directive.from;
    let plain = directive.value().replace(['{', '}'], "");
    let on = match plain.as_str() {
        "$remote_addr" | "$binary_remote_addr" if manner.is_announced => "source",
        "$remote_addr" | "$binary_remote_addr" | "$realip_remote_addr" => "peer",
        "$proxy_protocol_addr" if manner.has_header => "source",
        "$proxy_protocol_addr" => {
            let why =
                "without a header of the PROXY protocol this is empty, and servers take turns";
            return notes.remark(from, why);
        }
        "$ssl_preread_server_name" => "sni",
        _ => {
            let why = "servers are chosen by the client's address or by the name that it asks for (`hash_on`), else in turn";
            return notes.lose(from, why);
        }
    };
    keys.set("balance", "source-hash", from);
    if on != "source" {
        keys.set("hash_on", on, from);
    }
    notes.remark(from, "the same client goes to the same server, which is another one than nginx chooses: the hash is Maglev's");
}
