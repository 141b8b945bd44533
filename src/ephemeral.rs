//! The ports that the kernel gives to clients on this machine.

use std::fs;
use std::ops::RangeInclusive;

/// The range, as of this network namespace.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Reads the range. Where it can't be read it is every port, which is safe.
pub(crate) fn ports() -> RangeInclusive<u16> {
    let text = fs::read_to_string(RANGE).ok();
    text.as_deref().and_then(parse).unwrap_or(0..=u16::MAX)
}

/// Two numbers.
fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_ascii_whitespace().map(str::parse);
    match (ends.next(), ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) => Some(first..=last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_read() {
        assert_eq!(parse("32768\t60999\n"), Some(32_768..=60_999));
        for odd in ["", "1", "1 2 3", "1 x", "-1 5", "1 65536"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
        assert!(!ports().is_empty());
    }
}
