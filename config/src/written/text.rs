//! Tables and values of TOML, as they are written.

use std::fmt::{Display, Write as _};
use std::time::Duration;

/// An array of strings.
pub(super) fn list(values: &[impl Display]) -> String {
    let values: Vec<_> = values.iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

pub(super) fn table(text: &mut String, heading: &str, values: &[(&str, String)]) {
    let _ = writeln!(text, "{heading}");
    for (key, value) in values {
        let _ = writeln!(text, "{key} = {value}");
    }
    text.push('\n');
}

/// A string of JSON is one of TOML. What looks like a variable is none.
pub(super) fn quoted(value: impl Display) -> String {
    let value = value.to_string().replace("${", "$${");
    serde_json::Value::from(value).to_string()
}

/// A duration, or none.
pub(super) fn or_off(time: Option<Duration>) -> String {
    time.map_or_else(|| quoted("off"), duration)
}

/// In the largest unit that needs no fraction.
pub(super) fn duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 4] = [
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1000),
        ("ns", 1),
    ];
    let nanoseconds = duration.as_nanos();
    let whole = UNITS
        .iter()
        .find(|(_, unit)| nanoseconds.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(&UNITS[3]);
    quoted(format!("{}{name}", nanoseconds / unit))
}
