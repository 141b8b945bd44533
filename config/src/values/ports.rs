//! Ports: a number, or a range `"8000-8010"`.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use crate::problems::refusal::Refusal;

const EXPECTED: &str = "a port from 1 to 65535, or a range of them such as \"8000-8010\"";

/// Reads ports.
pub(crate) fn ports(value: &DeValue<'_>) -> Result<RangeInclusive<u16>, Refusal> {
    let number = value
        .as_integer()
        .and_then(|number| u16::from_str_radix(number.as_str(), number.radix()).ok());
    let range = match (number, value.as_str()) {
        (Some(port), _) => Some(port..=port),
        (None, Some(text)) => range(text),
        (None, None) => None,
    };
    range
        .filter(|range| *range.start() > 0)
        .ok_or_else(|| Refusal::new(EXPECTED, value))
}

/// `"8000-8010"`: the lower end first.
pub(crate) fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_number)
    };
    let (low, high) = text.split_once('-')?;
    let range = port(low)?..=port(high)?;
    (!range.is_empty()).then_some(range)
}
