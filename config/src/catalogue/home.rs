//! Where a key belongs that is unknown where it is written.

use super::key::Table;
use crate::problems::suggest::nearest_above;

/// How alike a key of another section must be to be meant, from 0 to 1: two guesses at once, the name and the
/// section, want more likeness than one.
const LIKENESS_ELSEWHERE_MIN: f64 = 0.9;

/// Where `key` belongs in `root`, as a part of a sentence, if a section other than that at `path` has it. `named` is the part
/// of `path` up to the name that the author chose, if there is one: sections below it are called by that name.
pub(crate) fn home(root: &'static Table, key: &str, path: &str, named: &str) -> Option<String> {
    let mut homes: Vec<String> = root
        .all()
        .into_iter()
        .filter(|table| table.keys.iter().any(|known| known.name == key))
        .map(|table| under_name(table.path, named))
        .collect();
    // What is closest is most likely meant.
    let below = format!("{path}.");
    if homes.iter().any(|home| home.starts_with(&below)) {
        homes.retain(|home| home.starts_with(&below));
    }
    let homes: Vec<_> = homes.iter().map(|home| place(home)).collect();
    (!homes.is_empty()).then(|| homes.join(" or "))
}

/// A key of any section that is very much like `key`.
pub(crate) fn nearest_elsewhere(root: &'static Table, key: &str) -> Option<&'static str> {
    let keys = root.all().into_iter().flat_map(|table| table.keys);
    let keys = keys.map(|key| key.name);
    nearest_above(LIKENESS_ELSEWHERE_MIN, key, keys)
}

/// A section as part of a sentence. A table in an array has no header that could be quoted.
pub(crate) fn place(path: &str) -> String {
    match path {
        "" => "the top level".to_owned(),
        path if path.ends_with(']') => format!("`{path}`"),
        path => format!("[{path}]"),
    }
}

/// The path of a table, with the author's own name in it where it is in the same table.
fn under_name(section: &str, named: &str) -> String {
    let table = named.split('.').next().unwrap_or_default();
    match section.strip_prefix(&format!("{table}.NAME")) {
        Some(rest) if !named.is_empty() => format!("{named}{rest}"),
        _ => section.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::ROOT;
    use super::*;

    #[test]
    fn the_closest_section_comes_first() {
        for (key, path, named, expected) in [
            ("placement", "runtime", "", "[runtime.glommio]"),
            ("mode", "runtime", "", "[runtime.tokio]"),
            ("glommio", "", "", "[runtime]"),
            (
                "rise",
                "upstreams.web",
                "upstreams.web",
                "[upstreams.web.health]",
            ),
            (
                "rise",
                "listeners.web",
                "listeners.web",
                "[upstreams.NAME.health]",
            ),
            (
                "interval",
                "listeners.web",
                "listeners.web",
                "[listeners.web.keepalive]",
            ),
            ("interval", "runtime", "", "[runtime.glommio.rebalance]"),
            (
                "interval",
                "upstreams.\"a.b\"",
                "upstreams.\"a.b\"",
                "[upstreams.\"a.b\".keepalive] or [upstreams.\"a.b\".health] or [upstreams.\"a.b\".agent] or [upstreams.\"a.b\".ejection] or [upstreams.\"a.b\".discovery]",
            ),
            (
                "weight",
                "upstreams.web",
                "upstreams.web",
                "`upstreams.web.servers[0]`",
            ),
            ("bind", "listeners", "", "[listeners.NAME]"),
            ("runtime", "admin", "", "the top level"),
        ] {
            assert_eq!(
                home(&ROOT, key, path, named).as_deref(),
                Some(expected),
                "{key} in {path}"
            );
        }
        assert_eq!(home(&ROOT, "zzz", "runtime", ""), None);
    }
}
