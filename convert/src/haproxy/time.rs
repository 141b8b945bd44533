//! Times of haproxy.cfg: a number and a unit.

use std::time::Duration;

/// A time, in milliseconds unless it has a unit. Nothing if it is none.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let end = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    let micros = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.checked_mul(micros).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds_unless_they_say_otherwise() {
        for (text, millis) in [
            ("0", 0),
            ("5000", 5_000),
            ("30s", 30_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("2000us", 2),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "1x",
            "-1",
            "1.5s",
            "1 s",
            "99999999999999999999",
            "999999999999999d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
