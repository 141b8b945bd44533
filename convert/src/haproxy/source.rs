//! `source`: from where servers are connected to.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;

/// Sets the keys of an upstream that the arguments of a `source` come to.
pub(super) fn set(arguments: &[String], from: &Origin, keys: &mut Keys, notes: &mut Notes) {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let pairs = words.get(1..).unwrap_or_default().chunks(2);
    for pair in pairs {
        match pair {
            ["interface", name] => keys.set("interface", *name, from),
            ["usesrc", "client" | "clientip"] => {
                keys.set("source_address", "client", from);
                return;
            }
            _ => {
                notes.lose(
                    from,
                    "servers are connected to from one address, or from the client's",
                );
                return;
            }
        }
    }
    let address = words.first().copied().unwrap_or_default();
    let host = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || address.starts_with('[') => {
            if port != "0" && !port.is_empty() {
                notes.lose(
                    from,
                    "the system chooses the ports from which servers are connected to",
                );
            }
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => address,
    };
    if !matches!(host, "0.0.0.0" | "*" | "::" | "") {
        keys.set("source_address", host, from);
    }
}
