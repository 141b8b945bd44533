//! How servers are chosen: `balance` and `stick`.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::proxy::Proxy;

/// Converters that make a hash: which server it finds is another one here anyway.
const HASHES: [&str; 8] = [
    "crc32", "crc32c", "djb2", "sdbm", "wt6", "xxh3", "xxh32", "xxh64",
];

/// Sets how the servers of a proxy are chosen.
pub(super) fn set(proxy: &Proxy, keys: &mut Keys, notes: &mut Notes) {
    balance(proxy, keys, notes);
    stick(proxy, keys, notes);
}

fn balance(proxy: &Proxy, keys: &mut Keys, notes: &mut Notes) {
    let Some(line) = proxy.last.get("balance") else {
        return;
    };
    let from = &line.from;
    let balance = match line.words()[1..] {
        ["roundrobin" | "static-rr", ..] => "round-robin",
        ["leastconn", ..] => "least-connections",
        ["first", ..] => "first",
        ["source", ..] => "source-hash",
        ["hash", expression, ..] if hash(expression, from, keys, notes) => return,
        [random, ..] if random.starts_with("random") => {
            if !matches!(random, "random" | "random(2)") {
                notes.remark(
                    from,
                    "two servers are drawn here, of which the one with fewer connections serves",
                );
            }
            "random-two"
        }
        _ => {
            let why = "corelane reads no HTTP and no RDP to balance by; it takes turns";
            return notes.lose(from, why);
        }
    };
    keys.set("balance", balance, from);
}

/// Sets that servers are chosen by a hash of an expression. Returns whether there is one of it.
fn hash(expression: &str, from: &Origin, keys: &mut Keys, notes: &mut Notes) -> bool {
    let mut parts = expression.split(',');
    let is_name = match parts.next() {
        Some("src") => false,
        Some("req.ssl_sni" | "req_ssl_sni") => true,
        _ => return false,
    };
    keys.set("balance", "source-hash", from);
    if is_name {
        keys.set("hash_on", "sni", from);
    }
    let name_of = |part: &str| part.split('(').next().unwrap_or_default().to_owned();
    let is_same = |part: &str| {
        let name = name_of(part);
        let keeps_all =
            part == "ipmask(32)" || part == "ipmask(32,128)" || is_name && name == "lower";
        keeps_all || HASHES.contains(&name.as_str())
    };
    // An argument may have a comma of its own.
    let converters = expression.split_once(',').map_or("", |(_, rest)| rest);
    for part in converters_of(converters).filter(|part| !is_same(part)) {
        let why = match is_name {
            true => "a hash is of the whole name",
            false => {
                "a hash is of the whole address, so clients of one network may have several servers"
            }
        };
        notes.lose(&from.part(&format!("{expression}: {part}")), why);
    }
    true
}

/// The converters of an expression: `ipmask(24,64)` is one.
fn converters_of(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .filter(|part| !part.is_empty())
}

/// `stick`: a client that comes back gets the server that it had.
fn stick(proxy: &Proxy, keys: &mut Keys, notes: &mut Notes) {
    let mut is_by_source = false;
    for line in proxy.all("stick") {
        let from = &line.from;
        let words = line.words();
        let expression = words.get(2).copied().unwrap_or_default();
        let is_source = expression.split(',').next() == Some("src");
        let is_hashed = match words[1] {
            "on" => hash(expression, from, keys, notes),
            "match" | "store-request" if !is_source => hash(expression, from, keys, notes),
            _ => false,
        };
        if !is_hashed {
            notes.lose(
                from,
                "corelane remembers no clients, and reads nothing of them but their ClientHello; `balance = \"source-hash\"` goes by the source",
            );
            continue;
        }
        is_by_source |= is_source;
        let why = match is_source {
            true => {
                "nothing is remembered: a hash of the source has a client find the same server while the servers stay the same, on every proxy. A \
                 table keeps it there when others come back, too"
            }
            false => "nothing is remembered: a hash of the name finds the same server",
        };
        notes.remark(from, why);
        let mut rest = words.iter().skip(3).copied();
        while let Some(word) = rest.next() {
            match word {
                "table" => {
                    let table = rest.next().unwrap_or_default();
                    if table != proxy.name {
                        let why = "nothing is remembered of another upstream: a hash of the same client finds a server of each";
                        notes.lose(&from.part(&format!("table {table}")), why);
                    }
                }
                "if" | "unless" => {
                    let rest = rest.by_ref().collect::<Vec<_>>().join(" ");
                    let why = "a hash is for all clients of an upstream; make an upstream of its own for the others, and a route to it";
                    notes.lose(&from.part(&format!("{word} {rest}")), why);
                }
                _ => {}
            }
        }
    }
    if let Some(line) = proxy.last.get("stick-table") {
        let why = match is_by_source {
            true => "a hash needs no table",
            false => "sources are counted where a limit of them asks for it",
        };
        notes.remark(&line.from, why);
    }
}
