//! The catalogue is what the readers read, and the schema says the same.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::key::{Absent, Key, Kind, Table};
use super::keys::ROOT;
use super::schema;
use crate::raw::read::INTEGER_MAX;
use crate::values::cores::CORES_MAX;
use crate::values::dscp::{DSCP_MAX, NAMES};
use crate::values::duration::written;
use crate::values::size;
use crate::{Config, parse};

/// A valid file of the fewest lines, with one more in it.
fn file(path: &str, value: &str) -> String {
    let mut lines = BTreeMap::from([
        ("listeners.l.bind", "\"127.0.0.1:1\""),
        ("listeners.l.upstream", "\"u\""),
        ("upstreams.u.servers", "[\"a:1\"]"),
    ]);
    match path {
        // What these say is of something else that must be there.
        "admin.socket_mode" | "admin.socket_group" => {
            lines.insert("admin.socket", "\"/run/admin\"");
        }
        "admin.tls_certificate" => {
            lines.insert("admin.tls_key", "\"/etc/key\"");
        }
        "admin.tls_key" => {
            lines.insert("admin.tls_certificate", "\"/etc/certificate\"");
        }
        "listeners.l.trusted" | "listeners.l.untrusted" => {
            lines.insert("listeners.l.accept_proxy_protocol", "true");
        }
        "upstreams.u.proxy_tlvs" => {
            lines.insert("upstreams.u.send_proxy_protocol", "\"v2\"");
        }
        "upstreams.u.hash_on" => {
            lines.insert("upstreams.u.balance", "\"source-hash\"");
        }
        "upstreams.u.compare_by" => {
            lines.insert("upstreams.u.balance", "\"random-two\"");
        }
        path if path.starts_with("upstreams.u.discovery.kubernetes.") => {
            lines.insert("upstreams.u.discovery.kubernetes.service", "\"a\"");
        }
        "upstreams.u.discovery.nameservers"
        | "upstreams.u.discovery.interval"
        | "upstreams.u.discovery.max_ttl" => {
            lines.insert("upstreams.u.discovery.dns", "\"a:1\"");
        }
        "upstreams.u.health.type" if value == "\"expect\"" => {
            lines.insert("upstreams.u.health.expect", "[{ send = \"a\" }]");
        }
        "upstreams.u.health.user" => {
            lines.insert("upstreams.u.health.type", "\"mysql\"");
        }
        path if path.starts_with("upstreams.u.agent.") => {
            lines.insert("upstreams.u.agent.port", "1");
        }
        path if path.starts_with("upstreams.u.health.http") => {
            lines.insert("upstreams.u.health.type", "\"http\"");
        }
        path if path.starts_with("upstreams.u.health.tls") => {
            lines.insert("upstreams.u.health.type", "\"tls\"");
        }
        path if path.starts_with("upstreams.u.health.expect") => {
            lines.insert("upstreams.u.health.type", "\"expect\"");
        }
        "upstreams.u.queue_timeout" => {
            lines.insert("upstreams.u.queue", "1");
        }
        path if path.starts_with("access_log.") => {
            lines.insert("access_log.path", "\"stdout\"");
        }
        _ => {}
    }
    let in_server = path.strip_prefix("upstreams.u.servers[0].");
    let server = match in_server {
        Some("address") => format!("[{{ address = {value} }}]"),
        Some(key) => format!("[{{ address = \"a:1\", {key} = {value} }}]"),
        None => String::new(),
    };
    let in_route = path.strip_prefix("listeners.l.routes[0].");
    let route = match in_route {
        Some("upstream" | "upstreams") => format!("[{{ {} = {value} }}]", in_route.unwrap_or("")),
        Some("reject") if value != "false" => format!("[{{ reject = {value} }}]"),
        Some(key) => format!("[{{ upstream = \"u\", {key} = {value} }}]"),
        None => String::new(),
    };
    let in_step = path.strip_prefix("upstreams.u.health.expect[0].");
    let step = in_step.map(|key| format!("[{{ {key} = {value} }}]"));
    // What stands below it.
    lines.retain(|line, _| !line.starts_with(&format!("{path}.")));
    match (in_server, in_route, &step) {
        (Some(_), ..) => lines.insert("upstreams.u.servers", &server),
        (_, Some(_), _) => lines.insert("listeners.l.routes", &route),
        (.., Some(step)) => lines.insert("upstreams.u.health.expect", step),
        (None, None, None) => lines.insert(path, value),
    };
    let lines = lines
        .iter()
        .map(|(path, value)| format!("{path} = {value}\n"));
    lines.collect()
}

/// Where a key of a table stands in such a file.
fn path(table: &Table, key: &str) -> String {
    let table = table.path;
    let table = table.replace("listeners.NAME", "listeners.l");
    let table = table.replace("upstreams.NAME", "upstreams.u");
    if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}

/// Calls for each key, with its path.
fn each_key(mut test: impl FnMut(&str, &Key)) {
    for table in ROOT.all() {
        for key in table.keys {
            test(&path(table, key.name), key);
        }
    }
}

fn config(text: &str) -> Config {
    parse(text, "f")
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
        .config
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn duration(duration: Duration) -> String {
    quoted(&written(duration))
}

/// Values that a key has, the bounds among them.
fn accepted(kind: &Kind) -> Vec<String> {
    let strings = |texts: &[&str]| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>();
    match kind {
        Kind::Boolean => vec!["true".to_owned(), "false".to_owned()],
        Kind::Integer { min, max } | Kind::PowerOfTwo { min, max } => {
            vec![min.to_string(), max.to_string()]
        }
        Kind::Number { min, max } => vec![min.to_string(), max.to_string()],
        Kind::Duration { min, max } => vec![duration(*min), duration(*max)],
        Kind::DurationOrOff { min, max } => {
            vec![duration(*min), duration(*max), quoted("off")]
        }
        Kind::Seconds { max } => vec![quoted("1s"), quoted(&format!("{max}s"))],
        Kind::SecondsOrOffOrTable { max, .. } => vec![
            quoted("1s"),
            quoted(&format!("{max}s")),
            quoted("off"),
            "{}".to_owned(),
        ],
        Kind::Dscp => {
            let mut accepted = strings(NAMES);
            accepted.extend(["0".to_owned(), DSCP_MAX.to_string()]);
            accepted
        }
        Kind::Percent { max } => vec![quoted("0%"), quoted(&format!("{max}%"))],
        Kind::Size { min, max } => [min, max].map(|size| quoted(&size::written(*size))).into(),
        Kind::Choice(names) => strings(names),
        Kind::ChoiceOrBoolean(names) => {
            let mut accepted = strings(names);
            accepted.extend(["true".to_owned(), "false".to_owned()]);
            accepted
        }
        Kind::Cores => vec![
            quoted("all"),
            quoted("0-3,8"),
            "1".to_owned(),
            CORES_MAX.to_string(),
        ],
        Kind::Text(syntax) => strings(syntax.accepted),
        Kind::TextOrTexts { of, .. } => {
            let mut accepted = strings(of.accepted);
            accepted.push(format!("[{}]", accepted.join(", ")));
            accepted
        }
        Kind::Texts { of, .. } => vec![format!("[{}]", strings(of.accepted).join(", "))],
        Kind::TextsOrTables { of, .. } => {
            let texts = strings(of.accepted);
            let tables = texts.iter().map(|text| format!("{{ address = {text} }}"));
            let tables: Vec<_> = tables.collect();
            vec![
                format!("[{}]", texts.join(", ")),
                format!("[{}]", tables.join(", ")),
            ]
        }
        Kind::Ports { .. } => vec![
            "1".to_owned(),
            "65535".to_owned(),
            quoted("8000-8010"),
            "[80, \"81-81\"]".to_owned(),
        ],
        Kind::Statuses { .. } => vec![format!("[100, 599, {}]", quoted("200-299"))],
        Kind::Tables { example, .. } => vec![format!("[{example}, {example}]")],
        Kind::Weights { highest, .. } => {
            vec!["{ u = 1 }".to_owned(), format!("{{ u = {highest} }}")]
        }
        Kind::Table(_) | Kind::Named { .. } => vec![],
    }
}

/// Values that a key doesn't have: those beyond the bounds, and those of another type.
fn refused(kind: &Kind) -> Vec<String> {
    const NANOSECOND: Duration = Duration::from_nanos(1);
    let mut refused: Vec<String> = match kind {
        Kind::Boolean => vec!["1".to_owned()],
        Kind::Integer { min, max } => {
            let above = (*max < INTEGER_MAX).then(|| (max + 1).to_string());
            let below = min.checked_sub(1).map(|below| below.to_string());
            ["1.5".to_owned(), "-1".to_owned()]
                .into_iter()
                .chain(below)
                .chain(above)
                .collect()
        }
        Kind::PowerOfTwo { min, max } => [min / 2, min + 1, max * 2]
            .map(|number| number.to_string())
            .into(),
        Kind::Number { min, max } => vec![(min - 0.01).to_string(), (max + 0.01).to_string()],
        Kind::Duration { min, max } | Kind::DurationOrOff { min, max } => {
            let below = min.checked_sub(NANOSECOND).map(duration);
            let others = [duration(*max + NANOSECOND), "5".to_owned(), quoted("5")];
            others.into_iter().chain(below).collect()
        }
        Kind::Seconds { max } | Kind::SecondsOrOffOrTable { max, .. } => vec![
            quoted("0s"),
            quoted(&format!("{}s", max + 1)),
            quoted("1500ms"),
            "5".to_owned(),
            quoted("5"),
        ],
        Kind::Dscp => vec![
            (DSCP_MAX + 1).to_string(),
            "-1".to_owned(),
            quoted("cs8"),
            quoted("5"),
        ],
        Kind::Percent { max } => vec![
            quoted(&format!("{}%", max + 1)),
            quoted("1.5%"),
            quoted("-1%"),
            quoted("%"),
            quoted("10"),
            "10".to_owned(),
        ],
        Kind::Cores => vec!["0".to_owned(), (CORES_MAX + 1).to_string(), quoted("1024")],
        Kind::Text(syntax) => syntax.refused.iter().map(|text| quoted(text)).collect(),
        Kind::TextOrTexts { of, .. } => {
            let texts = of.refused.iter().map(|text| quoted(text));
            let texts: Vec<_> = texts.collect();
            let arrays = texts.iter().map(|text| format!("[{text}]"));
            arrays
                .chain(texts.iter().cloned())
                .chain(["[]".to_owned()])
                .collect()
        }
        Kind::Texts { of, .. } | Kind::TextsOrTables { of, .. } => {
            let texts = of.refused.iter().map(|text| format!("[{}]", quoted(text)));
            texts.chain(["[]".to_owned(), quoted("a:1")]).collect()
        }
        Kind::Size { min, max } => vec![
            quoted(&size::written(min - 1)),
            quoted(&size::written(max + 1)),
            "5".to_owned(),
            quoted("5"),
        ],
        Kind::Choice(_) | Kind::ChoiceOrBoolean(_) => vec![quoted("nonsense")],
        Kind::Ports { .. } => {
            let numbers = ["0", "65536", "-1", "1.5", "[]"];
            let ranges = ["80", "90-80", "0-1", "1-65536", "a-b"];
            let numbers = numbers.map(str::to_owned).into_iter();
            numbers.chain(ranges.map(quoted)).collect()
        }
        Kind::Statuses { .. } => {
            let numbers = ["[99]", "[600]", "[1.5]", "[]", "200"].map(str::to_owned);
            let ranges = ["200", "299-200", "99-200", "200-600", "a-b"];
            let ranges = ranges.map(|range| format!("[{}]", quoted(range)));
            numbers.into_iter().chain(ranges).collect()
        }
        Kind::Tables { .. } => vec![quoted("nonsense"), "[]".to_owned(), "[1]".to_owned()],
        Kind::Weights { highest, .. } => {
            let weights = ["-1".to_owned(), "1.5".to_owned(), (highest + 1).to_string()];
            let weights = weights
                .map(|weight| format!("{{ u = {weight} }}"))
                .into_iter();
            weights.chain(["{}".to_owned(), "[]".to_owned()]).collect()
        }
        Kind::Table(_) => vec![quoted("nonsense"), "[]".to_owned()],
        Kind::Named { .. } => vec!["{}".to_owned(), "[]".to_owned()],
    };
    if !matches!(kind, Kind::Boolean | Kind::ChoiceOrBoolean(_)) {
        refused.push("true".to_owned());
    }
    refused.push("1979-05-27".to_owned());
    refused
}

#[test]
fn each_key_takes_its_values_and_bounds() {
    each_key(|path, key| {
        for value in accepted(&key.kind) {
            let config = config(&file(path, &value));
            // Nothing that can be set gets lost where the configuration is written again.
            let text = config.to_toml();
            assert_eq!(super::tests::config(&text), config, "{path} = {value}");
        }
    });
}

#[test]
fn each_key_refuses_other_types_and_what_is_beyond_its_bounds() {
    each_key(|path, key| {
        for value in refused(&key.kind) {
            let text = file(path, &value);
            let Err(problems) = parse(&text, "f") else {
                panic!("`{path}` takes {value}");
            };
            let at_key = problems.as_slice().iter().any(|problem| {
                let found = problem.key.as_deref();
                found.is_some_and(|found| found.starts_with(path))
            });
            assert!(at_key, "{path} = {value}: {problems}");
        }
    });
}

#[test]
fn a_default_is_what_an_absent_key_means() {
    each_key(|path, key| {
        if let Absent::Default(value) = key.absent {
            // With what else must be there.
            let with = file(path, value);
            let without: String = with
                .lines()
                .filter(|line| !line.starts_with(&format!("{path} = ")))
                .map(|line| format!("{line}\n"))
                .collect();
            let in_table = format!(", {} = {value}", key.name);
            let without = without.replace(&in_table, "");
            // These tables mean something when they are empty.
            let of = ["upstreams.u.health", "upstreams.u.ejection"];
            let of = of.iter().find(|of| path.starts_with(&format!("{of}.")));
            let without = match of {
                Some(of) if !without.contains(&format!("{of}.")) => {
                    format!("{without}{of} = {{}}\n")
                }
                _ => without,
            };
            assert_eq!(config(&with), config(&without), "{path} = {value}");
        }
    });
}

#[test]
fn other_keys_are_unknown_in_every_table() {
    for table in ROOT.all() {
        let path = path(table, "nonsense_of_nobody");
        let text = file(&path, "1");
        let problems = parse(&text, "f").expect_err("it is unknown").to_string();
        let message = "unknown key `nonsense_of_nobody`";
        assert!(problems.contains(message), "{problems}");
    }
}

#[test]
fn the_schema_says_the_same() {
    let schema = serde_json::from_str(&schema()).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let is_valid = |text: &str| {
        let value: Value = toml::from_str(text).expect("it is TOML");
        validator.is_valid(&value)
    };
    each_key(|path, key| {
        for value in accepted(&key.kind) {
            assert!(is_valid(&file(path, &value)), "{path} = {value}");
        }
        // Of strings the readers know more.
        for value in refused(&key.kind) {
            let is_string = value.contains('"');
            assert!(
                is_string || !is_valid(&file(path, &value)),
                "{path} = {value}"
            );
        }
        assert!(!is_valid(&file(&format!("{path}_nonsense"), "1")), "{path}");
    });
}

#[test]
fn the_schema_leaves_variables_of_the_environment_alone() {
    let schema = serde_json::from_str(&schema()).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    each_key(|path, key| {
        let text = match key.kind {
            Kind::Duration { .. }
            | Kind::DurationOrOff { .. }
            | Kind::Seconds { .. }
            | Kind::SecondsOrOffOrTable { .. }
            | Kind::Dscp
            | Kind::Percent { .. }
            | Kind::Size { .. }
            | Kind::Choice(_)
            | Kind::Cores
            | Kind::Text(_)
            | Kind::TextOrTexts { .. } => file(path, "\"${NAME}\""),
            Kind::Texts { .. } | Kind::TextsOrTables { .. } | Kind::Statuses { .. } => {
                file(path, "[\"${NAME}\"]")
            }
            _ => return,
        };
        let value: Value = toml::from_str(&text).expect("it is TOML");
        assert!(validator.is_valid(&value), "{path}");
    });
}
