//! "Did you mean …?"

use crate::problems::path::NAME_BYTES_MAX;

/// How alike two names must be for one to be suggested for the other, from 0 to 1. At 0.75
/// `timeout` still finds `idle_timeout`, and `weight` no longer finds `listen`.
const LIKENESS_MIN: f64 = 0.75;

/// The candidate that is most like what was written, if any is.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    nearest_above(LIKENESS_MIN, written, candidates)
}

/// As [`nearest`], with another measure of how alike is enough.
pub(crate) fn nearest_above<'a>(
    least: f64,
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing costs the product of the lengths, and no valid name is longer.
    if written.len() > NAME_BYTES_MAX {
        return None;
    }
    let written = written.to_lowercase();
    let scored = candidates.into_iter().map(|candidate| {
        let likeness = likeness(&written, &candidate.to_lowercase());
        (likeness, candidate)
    });
    let best = scored.max_by(|(left, _), (right, _)| left.total_cmp(right));
    best.filter(|(score, _)| *score >= least)
        .map(|(_, candidate)| candidate)
}

/// The likeness of names that one slip of the fingers turns into each other: a letter that is wrong, missing or too
/// many, or two that changed places.
const ONE_SLIP: f64 = 0.9;

/// The shortest name in which a slip is one. With two letters, half of it would be another name.
const SLIP_CHARS_MIN: usize = 3;

/// From 0 to 1. Jaro and Winkler's measure is made for names, and finds those that are cut short; but in a short name it
/// takes two letters that changed places for two others.
fn likeness(written: &str, candidate: &str) -> f64 {
    let likeness = strsim::jaro_winkler(written, candidate);
    let is_long = written.chars().count().max(candidate.chars().count()) >= SLIP_CHARS_MIN;
    if is_long && strsim::osa_distance(written, candidate) <= 1 {
        likeness.max(ONE_SLIP)
    } else {
        likeness
    }
}

/// `did you mean "NAME"?`, for a value that is like one of the candidates.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(written, candidates).map(|candidate| format!("did you mean {candidate:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_probably_meant() {
        let keys = [
            "bind",
            "upstream",
            "shares",
            "latency",
            "max_connections",
            "idle_timeout",
            "backlog",
        ];
        for (written, meant) in [
            ("idle_timout", Some("idle_timeout")),
            ("timeout", Some("idle_timeout")),
            ("max_conns", Some("max_connections")),
            ("maxConnections", Some("max_connections")),
            ("upstreams", Some("upstream")),
            ("BIND", Some("bind")),
            ("proxy", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, keys), meant, "{written}");
        }
    }

    #[test]
    fn one_slip_in_a_short_name_is_forgiven() {
        let names = ["webb", "web", "db", "redis", "api"];
        for (written, meant) in [
            ("wbe", Some("web")),
            ("ewb", Some("web")),
            ("weh", Some("web")),
            ("apo", Some("api")),
            ("rdeis", Some("redis")),
            ("x", None),
            ("dc", None),
            ("xyz", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }

    #[test]
    fn does_not_compare_what_is_too_long() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }
}
