//! What conditions of routes mean together: networks and names are compared by what they mean, and not as texts.

use std::collections::HashSet;

use super::access::{common, network, written};

/// What a route asks for: its key, and what must be among the values.
pub(super) type Condition = (&'static str, Vec<String>);

/// What both ask for; nothing if no connection can be both.
pub(super) fn both(outer: &[Condition], inner: &[Condition]) -> Option<Vec<Condition>> {
    let mut all = outer.to_vec();
    for (key, values) in inner {
        let Some((_, found)) = all.iter_mut().find(|(other, _)| other == key) else {
            all.push((key, values.clone()));
            continue;
        };
        *found = in_common(key, found, values);
        if found.is_empty() {
            return None;
        }
    }
    Some(all)
}

/// The values that are in both lists of a key.
fn in_common(key: &str, one: &[String], other: &[String]) -> Vec<String> {
    let pair = |left: &String, right: &String| match key {
        _ if left == right => Some(left.clone()),
        "sni" => names_in_common(left, right),
        "source" | "peer" => {
            let networks = (network(left)?, network(right)?);
            common(&networks.0, &networks.1).map(|network| written(&network))
        }
        _ => None,
    };
    let mut seen = HashSet::new();
    let pairs = one
        .iter()
        .flat_map(|left| other.iter().filter_map(move |right| pair(left, right)));
    pairs.filter(|both| seen.insert(both.clone())).collect()
}

/// The names that two names of routes both mean.
pub(super) fn names_in_common(one: &String, other: &String) -> Option<String> {
    let is_below = |name: &str, pattern: &str| match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => name.trim_start_matches('*').len() > suffix.len() && name.ends_with(suffix),
        None => false,
    };
    if one == other || is_below(one, other) {
        Some(one.clone())
    } else if is_below(other, one) {
        Some(other.clone())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &'static str, one: &[&str], other: &[&str]) -> Option<String> {
        let condition = |values: &[&str]| {
            vec![(
                key,
                values.iter().map(|value| (*value).to_owned()).collect(),
            )]
        };
        let all = both(&condition(one), &condition(other))?;
        Some(all[0].1.join(" "))
    }

    #[test]
    fn networks_and_names_are_compared_by_what_they_mean() {
        for (key, one, other, expected) in [
            (
                "source",
                &["127.0.0.0/8"][..],
                &["127.0.0.8/29"][..],
                Some("127.0.0.8/29"),
            ),
            (
                "peer",
                &["10.0.0.1", "::1"],
                &["::/0", "10.0.0.0/8"],
                Some("10.0.0.1 ::1"),
            ),
            ("source", &["10.0.0.0/8"], &["127.0.0.1"], None),
            (
                "sni",
                &["*.example.com"],
                &["www.example.com"],
                Some("www.example.com"),
            ),
            ("sni", &["*"], &["a", "b"], Some("a b")),
            ("sni", &["*.a.b", "c"], &["*.b"], Some("*.a.b")),
            ("sni", &["*.example.com"], &["example.com"], None),
            ("alpn", &["h2"], &["h2", "x"], Some("h2")),
            ("port", &["1"], &["2"], None),
        ] {
            assert_eq!(
                shown(key, one, other).as_deref(),
                expected,
                "{one:?} {other:?}"
            );
            assert_eq!(shown(key, other, one).is_some(), expected.is_some());
        }
    }
}
