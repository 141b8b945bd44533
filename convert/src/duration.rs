//! Times made of numbers with units, such as `1m30s`.

use std::time::Duration;

/// The sum of all numbers of a text. `millis_of` says how long a unit is, of which the empty one stands behind a number alone;
/// `gaps` may stand behind a unit. Nothing if the text is no time.
pub(super) fn sum(
    text: &str,
    gaps: &[char],
    millis_of: fn(&str) -> Option<u64>,
) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut millis = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let scale = millis_of(&rest[..letters])?;
        rest = rest[letters..].trim_start_matches(gaps);
        millis = millis.checked_add(number.checked_mul(scale)?)?;
    }
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_summed_and_stand_apart_only_where_they_may() {
        let seconds = |unit: &str| (unit == "s").then_some(1000);
        let millis = |text, gaps: &[char]| sum(text, gaps, seconds).map(|time| time.as_millis());
        assert_eq!(millis("1s2s", &[]), Some(3_000));
        assert_eq!(millis("1s 2s", &[' ']), Some(3_000));
        for bad in ["", "1s 2s", "s", "1", "1m", "18446744073709551615s"] {
            assert_eq!(millis(bad, &[]), None, "{bad}");
        }
    }
}
