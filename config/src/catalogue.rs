//! Which keys belong in which section, so that a key in the wrong one can be sent to its place.
//!
//! The list is what the readers themselves ask for when they read a file that has every kind of section.

use std::sync::OnceLock;

use toml::de::DeTable;

use crate::config;
use crate::findings::Findings;
use crate::loops::Machine;
use crate::section::Section;
use crate::suggest::nearest_above;

/// A file with every section that is read only if it is written. `NAME` stands for any name. It has no key that is
/// unknown, which would be looked up here.
const SKELETON: &str = "[access_log]\n[listeners.NAME]\n[upstreams.NAME]\nservers = [{}]\n\
    [upstreams.NAME.health]\n";

/// How alike a key of another section must be to be meant, from 0 to 1: two guesses at once, the name and the
/// section, want more likeness than one.
const LIKENESS_ELSEWHERE_MIN: f64 = 0.9;

/// A key and the path of its section.
struct Entry {
    section: String,
    key: &'static str,
}

/// Where `key` belongs, as a part of a sentence, if a section other than that at `path` has it. `named` is the part
/// of `path` up to the name that the author chose, if there is one: sections below it are called by that name.
pub(crate) fn home(key: &str, path: &str, named: &str) -> Option<String> {
    let mut homes: Vec<String> = entries()
        .iter()
        .filter(|entry| entry.key == key)
        .map(|entry| under_name(&entry.section, named))
        .collect();
    // What is closest is most likely meant.
    let below = format!("{path}.");
    if homes.iter().any(|home| home.starts_with(&below)) {
        homes.retain(|home| home.starts_with(&below));
    }
    homes.dedup();
    let homes: Vec<_> = homes.iter().map(|home| place(home)).collect();
    (!homes.is_empty()).then(|| homes.join(" or "))
}

/// A key of any section that is very much like `key`.
pub(crate) fn nearest_elsewhere(key: &str) -> Option<&'static str> {
    let keys = entries().iter().map(|entry| entry.key);
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

/// The path of a section of the skeleton, with the author's own name in it where it is in the same table.
fn under_name(section: &str, named: &str) -> String {
    let table = named.split('.').next().unwrap_or_default();
    match section.strip_prefix(&format!("{table}.NAME")) {
        Some(rest) if !named.is_empty() => format!("{named}{rest}"),
        _ => section.to_owned(),
    }
}

fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let (document, _) = DeTable::parse_recoverable(SKELETON);
        let findings = Findings::recording();
        Section::document(document.get_ref(), &findings).read(|root| {
            config::read(
                root,
                Machine::ANY,
                &Findings::default(),
                &Findings::default(),
            )
        });
        let keys = findings.into_keys().into_iter();
        keys.map(|(section, key)| Entry { section, key }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_known() {
        let mut sections: Vec<_> = entries()
            .iter()
            .map(|entry| entry.section.as_str())
            .collect();
        sections.sort_unstable();
        sections.dedup();
        assert_eq!(
            sections,
            [
                "",
                "access_log",
                "admin",
                "listeners.NAME",
                "runtime",
                "runtime.glommio",
                "runtime.glommio.rebalance",
                "runtime.tokio",
                "upstreams.NAME",
                "upstreams.NAME.health",
                "upstreams.NAME.servers[0]",
            ]
        );
    }

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
                "[runtime.glommio.rebalance] or [upstreams.NAME.health]",
            ),
            ("interval", "runtime", "", "[runtime.glommio.rebalance]"),
            (
                "interval",
                "upstreams.\"a.b\"",
                "upstreams.\"a.b\"",
                "[upstreams.\"a.b\".health]",
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
                home(key, path, named).as_deref(),
                Some(expected),
                "{key} in {path}"
            );
        }
        assert_eq!(home("zzz", "runtime", ""), None);
    }
}
