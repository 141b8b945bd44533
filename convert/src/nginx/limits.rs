//! Limits of a `server` block: connections, and bytes a second.

use super::super::note::Notes;
use super::super::plan::Keys;
use super::scope::Scope;
use super::units::{size, size_text};

/// Bytes a second: one limit for both ways here.
pub(super) fn bandwidth(scope: &Scope<'_>, keys: &mut Keys, notes: &mut Notes) {
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
pub(super) fn connections(scope: &Scope<'_>, trusts: bool, keys: &mut Keys, notes: &mut Notes) {
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

/// Bytes a second, or nothing where there is no limit.
fn rate(text: &str) -> Option<u64> {
    size(text).filter(|bytes| *bytes > 0)
}
