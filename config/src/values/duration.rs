//! Durations, written as whole numbers with units: `"30s"`, `"1ms"`, `"1h30m"`.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};

/// The longest duration of a configuration: 365 days. A longer one is a problem.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The units in nanoseconds, the largest first, which is also the order in which they must be
/// written.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Read for Duration {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        match *kind {
            Kind::Duration { min, max } => duration(value, min..=max),
            _ => kind.is_no("duration"),
        }
    }
}

/// "off" is `None`.
impl Read for Option<Duration> {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        match *kind {
            Kind::DurationOrOff { .. } if value.as_str() == Some("off") => Ok(None),
            Kind::DurationOrOff { min, max } => duration(value, min..=max)
                .map(Some)
                .map_err(|refusal| refusal.or_else(" or \"off\"")),
            _ => kind.is_no("duration or \"off\""),
        }
    }
}

/// A duration of a range.
fn duration(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Result<Duration, Refusal> {
    let expected = format!(
        "a duration from {} to {}",
        written(*range.start()),
        written(*range.end())
    );
    let text = string(value, &expected).map_err(|refusal| refusal.advise(unit_advice(value)))?;
    match parse(text) {
        Some(duration) if range.contains(&duration) => Ok(duration),
        Some(_) => Err(Refusal::new(expected, value)),
        None => Err(Refusal::new(expected, value).advise(SYNTAX.to_owned())),
    }
}

const SYNTAX: &str = "write whole numbers with the units d, h, m, s, ms, us or ns, \
    the largest first, as in \"1h30m\"";

/// What to tell someone who wrote a bare number. More than nine digits were hardly meant as seconds.
fn unit_advice(value: &DeValue<'_>) -> Option<String> {
    let seconds = value.as_integer()?.to_string();
    let plain = seconds.len() <= 9 && seconds.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| format!("a duration is a string with a unit, such as \"{seconds}s\""))
}

/// A duration from numbers with units, each at most once and the largest first; nothing if `text`
/// is anything else, or more than 64 bits of nanoseconds.
fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut units = UNITS.iter();
    let mut nanos = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, next) = split_where(after, |c| c.is_ascii_digit());
        // The iterator goes on from the unit before, and so finds only smaller ones.
        let (_, scale) = units.find(|(name, _)| *name == unit)?;
        nanos = number
            .parse::<u64>()
            .ok()?
            .checked_mul(*scale)?
            .checked_add(nanos)?;
        rest = next;
    }
    Some(Duration::from_nanos(nanos))
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// A duration in the largest unit that divides it.
pub(crate) fn written(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let divides = |(_, scale): &&(&str, u64)| {
        nanos >= u128::from(*scale) && nanos.is_multiple_of(u128::from(*scale))
    };
    match UNITS.iter().find(divides) {
        Some((unit, scale)) => format!("{}{unit}", nanos / u128::from(*scale)),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_numbers_with_units() {
        for (text, nanos) in [
            ("0s", 0),
            ("1ns", 1),
            ("100us", 100_000),
            ("1ms", 1_000_000),
            ("030s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1d1ns", 86_400_000_000_001),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_anything_else() {
        for text in [
            "",
            "s",
            "1",
            "30",
            "1 s",
            " 1s",
            "1s ",
            "-1s",
            "+1s",
            "0.5s",
            "1s1s",
            "1s1m",
            "1S",
            "1µs",
            "1s5",
            "99999999999999999999s",
            "99999999999d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back(nanos in any::<u64>()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&written(duration)), Some(duration));
        }
    }
}
