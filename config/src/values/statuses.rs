//! Statuses of HTTP: a number, or a range `"200-299"`.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::ports::range;
use crate::problems::refusal::Refusal;

const EXPECTED: &str = "a status from 100 to 599, or a range of them such as \"200-299\"";

/// Reads statuses.
pub(crate) fn statuses(value: &DeValue<'_>) -> Result<RangeInclusive<u16>, Refusal> {
    let number = value
        .as_integer()
        .and_then(|number| u16::from_str_radix(number.as_str(), number.radix()).ok());
    let written = match (number, value.as_str()) {
        (Some(status), _) => Some(status..=status),
        (None, Some(text)) => range(text),
        (None, None) => None,
    };
    written
        .filter(|range| *range.start() >= 100 && *range.end() <= 599)
        .ok_or_else(|| Refusal::new(EXPECTED, value))
}
