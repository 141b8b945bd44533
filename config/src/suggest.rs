//! "Did you mean …?"

use crate::node::NAME_BYTES_MAX;

/// How alike two names must be for one to be suggested for the other, from 0 to 1. At 0.75
/// `timeout` still finds `idle_timeout`, and `weight` no longer finds `listen`.
const LIKENESS_MIN: f64 = 0.75;

/// The candidate that is most like what was written, if any is.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing costs the product of the lengths, and no valid name is longer.
    if written.len() > NAME_BYTES_MAX {
        return None;
    }
    let written = written.to_lowercase();
    let likeness = |candidate: &str| strsim::jaro_winkler(&written, &candidate.to_lowercase());
    let scored = candidates
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate));
    let best = scored.max_by(|(left, _), (right, _)| left.total_cmp(right));
    best.filter(|(score, _)| *score >= LIKENESS_MIN)
        .map(|(_, candidate)| candidate)
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
    fn does_not_compare_what_is_too_long() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }
}
