//! Values as nginx writes them: times, sizes, rates and switches.

use std::time::Duration;

use super::super::duration;

/// The longest time that is understood: what the configuration allows.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A time such as `90`, `1m30s` or `500ms`; a number alone is of seconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    let time = duration::sum(text, &[' '], |unit| {
        Some(match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        })
    });
    time.filter(|time| *time <= TIME_MAX)
}

/// A size such as `512`, `16k` or `1m`, in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, scale) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// Bytes as the configuration writes them.
pub(super) fn size_text(bytes: u64) -> String {
    for (unit, scale) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read() {
        let millis = |text| time(text).map(|time| time.as_millis());
        assert_eq!(millis("90"), Some(90_000));
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("1h 5ms"), Some(3_600_005));
        for bad in ["", "s", "1x", "-1", "9999999999999999999d", "1e3", "99y"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
        assert_eq!(size("16k"), Some(16 << 10));
        assert_eq!(size("7"), Some(7));
        for bad in ["", "k", "1t", "-1k", "+1", "99999999999g"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        assert_eq!(size_text(1 << 20), "1MiB");
    }
}
