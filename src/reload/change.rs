//! What differs between two configurations.

use std::collections::BTreeMap;

use proxy_config::{Config, Server};

/// What differs, by name and in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) listeners: Names,
    pub(crate) upstreams: Names,
    /// A line for each difference, for the log. Without any, both mean the same.
    pub(crate) lines: Vec<String>,
}

/// The names of one kind, each in one of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// In the new configuration only.
    pub(crate) added: Vec<String>,
    /// The same in both.
    pub(crate) kept: Vec<String>,
    /// In both, with other settings.
    pub(crate) changed: Vec<String>,
    /// In the old configuration only.
    pub(crate) retired: Vec<String>,
}

/// A configuration in pieces: by section, the values by key, as they are written.
type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Compares two configurations. The order of sections says nothing; that of servers does.
pub(crate) fn diff(old: &Config, new: &Config) -> Change {
    let sections = [sections(old), sections(new)];
    let servers = [servers(old), servers(new)];
    Change {
        // The place of its upstreams in the file is no setting.
        listeners: Names::of(listeners(old), listeners(new), |old, new| old == new),
        // The same of their fallbacks.
        upstreams: Names::of(upstreams(old), upstreams(new), |old, new| old == new),
        lines: lines(&sections[0], &sections[1], &servers[0], &servers[1]),
    }
}

impl Names {
    fn of<'a, T>(
        old: BTreeMap<&'a str, T>,
        new: BTreeMap<&'a str, T>,
        is_same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let mut names = Self::default();
        for (name, one) in &new {
            let list = match old.get(name) {
                None => &mut names.added,
                Some(before) if is_same(before, one) => &mut names.kept,
                Some(_) => &mut names.changed,
            };
            list.push((*name).to_owned());
        }
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        names.retired = gone.map(|name| (*name).to_owned()).collect();
        names
    }
}

/// Each listener, as it is written.
fn listeners(config: &Config) -> BTreeMap<&str, String> {
    let listeners = config.listeners.iter();
    listeners
        .map(|listener| (&listener.name[..], config.listener_toml(listener)))
        .collect()
}

fn upstreams(config: &Config) -> BTreeMap<&str, String> {
    let upstreams = config.upstreams.iter();
    upstreams
        .map(|upstream| (&upstream.name[..], config.upstream_toml(upstream)))
        .collect()
}

/// The servers of each upstream, by the heading of its section.
fn servers(config: &Config) -> BTreeMap<String, &[Server]> {
    let upstreams = config.upstreams.iter();
    upstreams
        .map(|upstream| {
            let heading = format!("[upstreams.{}]", upstream.name);
            (heading, &upstream.servers[..])
        })
        .collect()
}

fn sections(config: &Config) -> Sections {
    let mut sections = Sections::new();
    let mut arrays: BTreeMap<String, usize> = BTreeMap::new();
    let mut heading = String::new();
    for line in config.to_toml().lines() {
        if line.starts_with('[') {
            // As people write it.
            heading = line.replace('"', "");
            if let Some(array) = heading.strip_suffix("]]") {
                // The tables of an array are told apart by their places.
                let place = arrays.entry(array.to_owned()).or_insert(0);
                let heading_of_one = format!("{array}[{place}]]]");
                *place += 1;
                heading = heading_of_one;
            }
            sections.insert(heading.clone(), BTreeMap::new());
        } else if let Some((key, value)) = line.split_once(" = ") {
            let values = sections.entry(heading.clone()).or_default();
            values.insert(key.to_owned(), value.to_owned());
        }
    }
    sections
}

fn lines(
    old: &Sections,
    new: &Sections,
    old_servers: &BTreeMap<String, &[Server]>,
    new_servers: &BTreeMap<String, &[Server]>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (heading, values) in new {
        let Some(before) = old.get(heading) else {
            lines.push(format!("{heading} is new"));
            continue;
        };
        let gone = before.keys().filter(|key| !values.contains_key(*key));
        for key in values.keys().chain(gone) {
            let (was, is) = (before.get(key), values.get(key));
            if was == is {
                continue;
            }
            if let ("servers", Some(old), Some(new)) =
                (&key[..], old_servers.get(heading), new_servers.get(heading))
            {
                lines.extend(server_lines(heading, old, new));
                continue;
            }
            let none = "none".to_owned();
            let (was, is) = (was.unwrap_or(&none), is.unwrap_or(&none));
            lines.push(format!("{heading} {key}: {was} is now {is}"));
        }
    }
    let gone = old.keys().filter(|heading| !new.contains_key(*heading));
    lines.extend(gone.map(|heading| format!("{heading} is removed")));
    lines
}

fn server_lines(heading: &str, old: &[Server], new: &[Server]) -> Vec<String> {
    let mut lines = Vec::new();
    for server in new {
        let address = &server.address;
        match old.iter().find(|before| before.address == *address) {
            None => lines.push(format!("{heading} servers: {address} is new")),
            Some(before) => {
                let mut changed = |what: &str, was: String, is: String| {
                    if was != is {
                        let line =
                            format!("{heading} servers: {what} of {address}, {was}, is now {is}");
                        lines.push(line);
                    }
                };
                let weight = |server: &Server| server.weight.to_string();
                changed("the weight", weight(before), weight(server));
                let backup = |server: &Server| server.backup.to_string();
                changed("`backup`", backup(before), backup(server));
                let max = |server: &Server| {
                    let max = server.max_connections;
                    max.map_or_else(|| "none".to_owned(), |max| max.to_string())
                };
                changed("`max_connections`", max(before), max(server));
            }
        }
    }
    for Server { address, .. } in old {
        if !new.iter().any(|server| server.address == *address) {
            lines.push(format!("{heading} servers: {address} is removed"));
        }
    }
    if lines.is_empty() {
        lines.push(format!("{heading} servers: their order is another one"));
    }
    lines
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    pub(in crate::reload) fn config(text: &str) -> Config {
        let parsed = proxy_config::parse(text, "test");
        parsed
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
            .config
    }

    /// Any of many configurations that have little to choose from, so that two often share something.
    pub(in crate::reload) fn text() -> impl Strategy<Value = String> {
        let server = (1_u8..4, 1_u16..3);
        let upstream = (
            prop::collection::btree_map(1_u8..5, server.prop_map(|(_, weight)| weight), 1..4),
            any::<bool>(),
            any::<bool>(),
            1_u32..3,
        );
        let listener = (0_usize..3, 1_u16..3, prop::option::of(1_u32..3), 1_u32..3);
        (
            prop::collection::vec(upstream, 1..4),
            prop::collection::btree_map(0_u8..4, listener, 1..4),
            1_u32..3,
        )
            .prop_map(|(upstreams, listeners, drain)| {
                let mut text = format!("[runtime]\ndrain_timeout = \"{drain}s\"\n");
                for (place, (servers, least, checked, timeout)) in upstreams.iter().enumerate() {
                    let servers: Vec<_> = servers
                        .iter()
                        .map(|(host, weight)| {
                            format!("{{ address = \"10.0.0.{host}:80\", weight = {weight} }}")
                        })
                        .collect();
                    let balance = if *least { "least-connections" } else { "round-robin" };
                    let _ = writeln!(
                        text,
                        "[upstreams.u{place}]\nservers = [{}]\nbalance = \"{balance}\"\nconnect_timeout = \"{timeout}s\"",
                        servers.join(", ")
                    );
                    if *checked {
                        let _ = writeln!(text, "[upstreams.u{place}.health]\nrise = {timeout}");
                    }
                }
                for (name, (upstream, shares, max, idle)) in &listeners {
                    let upstream = upstream % upstreams.len();
                    let _ = writeln!(
                        text,
                        "[listeners.l{name}]\nbind = \"127.0.0.1:{}\"\nupstream = \"u{upstream}\"\nshares = {shares}\n\
                         idle_timeout = \"{idle}m\"\nmax_rate = {shares}\nbandwidth = \"{idle}MiB\"\n\
                         max_connections_per_source = {idle}\ndeny = \"10.0.0.{shares}\"",
                        7000 + u16::from(*name)
                    );
                    if let Some(max) = max {
                        let _ = writeln!(text, "max_connections = {max}");
                    }
                }
                text
            })
    }

    const BASE: &str = "[listeners.web]\nbind = \"127.0.0.1:80\"\nupstream = \"u\"\n\
        [upstreams.u]\nservers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\n";

    fn lines_of(new: &str) -> Vec<String> {
        diff(&config(BASE), &config(new)).lines
    }

    #[test]
    fn each_difference_has_a_line() {
        assert_eq!(lines_of(BASE), [""; 0]);
        let idle = BASE.replace(
            "upstream = \"u\"",
            "upstream = \"u\"\nidle_timeout = \"5m\"",
        );
        assert_eq!(
            lines_of(&idle),
            [r#"[listeners.web] idle_timeout: "3600s" is now "300s""#]
        );
        let limited = BASE.replace("upstream = \"u\"", "upstream = \"u\"\nmax_connections = 5");
        assert_eq!(
            lines_of(&limited),
            ["[listeners.web] max_connections: none is now 5"]
        );
        let servers = BASE.replace(
            "\"10.0.0.1:80\", \"10.0.0.2:80\"",
            "{ address = \"10.0.0.2:80\", weight = 3 }, \"10.0.0.3:80\"",
        );
        assert_eq!(
            lines_of(&servers),
            [
                "[upstreams.u] servers: the weight of 10.0.0.2:80, 1, is now 3",
                "[upstreams.u] servers: 10.0.0.3:80 is new",
                "[upstreams.u] servers: 10.0.0.1:80 is removed"
            ]
        );
        let turned = BASE.replace(
            "\"10.0.0.1:80\", \"10.0.0.2:80\"",
            "\"10.0.0.2:80\", \"10.0.0.1:80\"",
        );
        assert_eq!(
            lines_of(&turned),
            ["[upstreams.u] servers: their order is another one"]
        );
        let checked = format!("{BASE}[upstreams.u.health]\n");
        assert_eq!(lines_of(&checked), ["[upstreams.u.health] is new"]);
        let renamed = BASE.replace("listeners.web", "listeners.www");
        assert_eq!(
            lines_of(&renamed),
            ["[listeners.www] is new", "[listeners.web] is removed"]
        );
        let runtime = format!("[runtime]\ncores = 1\n{BASE}");
        assert_eq!(lines_of(&runtime), [r#"[runtime] cores: "all" is now 1"#]);
    }

    #[test]
    fn the_order_of_sections_says_nothing() {
        let before = format!("{BASE}[upstreams.a]\nservers = [\"10.0.0.9:80\"]\n");
        let after = format!("[upstreams.a]\nservers = [\"10.0.0.9:80\"]\n{BASE}");
        let change = diff(&config(&before), &config(&after));
        assert_eq!(change.lines, [""; 0]);
        assert_eq!(change.listeners.kept, ["web"]);
        assert_eq!(change.upstreams.kept, ["a", "u"]);
    }

    proptest! {
        #[test]
        fn every_name_is_in_one_list_and_lines_are_there_if_something_differs(
            old in text(),
            new in text(),
        ) {
            let (old, new) = (config(&old), config(&new));
            let change = diff(&old, &new);
            let names = |lists: &[&Vec<String>]| {
                let mut names: Vec<_> = lists.iter().flat_map(|list| (*list).clone()).collect();
                names.sort();
                names
            };
            let sorted = |mut names: Vec<String>| { names.sort(); names };
            let Names { added, kept, changed, retired } = &change.listeners;
            let all = |config: &Config| sorted(config.listeners.iter().map(|one| one.name.clone()).collect());
            prop_assert_eq!(names(&[added, kept, changed]), all(&new));
            prop_assert_eq!(names(&[retired, kept, changed]), all(&old));
            let Names { added, kept, changed, retired } = &change.upstreams;
            let all = |config: &Config| sorted(config.upstreams.iter().map(|one| one.name.clone()).collect());
            prop_assert_eq!(names(&[added, kept, changed]), all(&new));
            prop_assert_eq!(names(&[retired, kept, changed]), all(&old));
            prop_assert_eq!(change.lines.is_empty(), old.hash() == new.hash());
            for name in change.listeners.changed.iter().chain(&change.listeners.added) {
                let heading = format!("[listeners.{name}]");
                prop_assert!(change.lines.iter().any(|line| line.starts_with(&heading)));
            }
            for name in &change.upstreams.changed {
                let heading = format!("[upstreams.{name}");
                prop_assert!(change.lines.iter().any(|line| line.starts_with(&heading)));
            }
            prop_assert_eq!(diff(&new, &new).lines, Vec::<String>::new());
        }
    }
}
