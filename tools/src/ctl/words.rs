//! Values as people read them.

use serde_json::Value;

/// A value of a key, on one line.
pub(super) fn of(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(is) => (if *is { "yes" } else { "no" }).to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(values) => {
            let all: Vec<_> = values.iter().map(|value| of(key, value)).collect();
            all.join(", ")
        }
        Value::Number(number) => match number.as_f64() {
            Some(at) if key == "at" || key == "since" || key.ends_with("_at") => time(at),
            Some(seconds) if key.ends_with("_seconds") => format!("{seconds:.1}"),
            Some(whole) if number.is_f64() && whole.fract() == 0.0 => format!("{whole:.0}"),
            Some(fraction) if number.is_f64() => format!("{fraction:.2}"),
            _ => number.to_string(),
        },
        Value::Object(_) => value.to_string(),
    }
}

/// What a terminal takes as text: what somebody else has said may be anything.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A Unix time, by the clock of UTC.
fn time(at: f64) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let whole = at as u64;
    let (hours, minutes) = (whole % DAY / 3600, whole % 3600 / 60);
    let (year, month, day) = date(whole / DAY);
    let seconds = whole % 60;
    format!("{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

/// The day of the calendar, so many days after the first of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // From the first of March of the year 0, so that leap days come last (Hinnant's algorithm of civil days).
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_short_and_never_control_a_terminal() {
        for (key, value, words) in [
            ("why", json!(null), "-"),
            ("why", json!(""), "-"),
            ("checked", json!(true), "yes"),
            ("weight_in_force", json!(2.0), "2"),
            ("weight_in_force", json!(0.5), "0.50"),
            ("age_seconds", json!(61.25), "61.2"),
            ("sni", json!("a\u{1b}[2Jb"), "a\u{fffd}[2Jb"),
            ("at", json!(0.0), "1970-01-01T00:00:00Z"),
            (
                "config_read_at",
                json!(951_827_696.5),
                "2000-02-29T12:34:56Z",
            ),
            ("since", json!(1_767_225_599), "2025-12-31T23:59:59Z"),
            ("known", json!(["a", "b"]), "a, b"),
        ] {
            assert_eq!(of(key, &value), words, "{key}");
        }
    }
}
