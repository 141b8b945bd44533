//! Readers of simple values.

use std::fmt::Display;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use toml::de::DeValue;

use crate::refusal::Refusal;
use crate::suggest::did_you_mean;

/// The end of a range of integers that has none of its own: the largest integer of TOML.
pub(crate) const INTEGER_MAX: u64 = i64::MAX as u64;

/// `true` or `false`.
pub(crate) fn boolean(value: &DeValue<'_>) -> Result<bool, Refusal> {
    value
        .as_bool()
        .ok_or_else(|| Refusal::new("true or false", value))
}

/// A string; `expected` says which.
pub(crate) fn string<'v>(value: &'v DeValue<'_>, expected: &str) -> Result<&'v str, Refusal> {
    value.as_str().ok_or_else(|| Refusal::new(expected, value))
}

/// One of the names that `all` display as.
pub(crate) fn choice<T: Copy + Display>(value: &DeValue<'_>, all: &[T]) -> Result<T, Refusal> {
    let names: Vec<String> = all.iter().map(T::to_string).collect();
    let expected = || {
        names
            .iter()
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(" or ")
    };
    let written = string(value, &expected())?;
    let chosen = names
        .iter()
        .position(|name| name == written)
        .map(|index| all[index]);
    chosen.ok_or_else(|| {
        let advice = did_you_mean(written, names.iter().map(String::as_str));
        Refusal::new(expected(), value).advise(advice)
    })
}

/// An integer of a range that starts at 1 or later and fits into `T`.
pub(crate) fn integer<T: TryFrom<NonZeroU64>>(
    value: &DeValue<'_>,
    range: RangeInclusive<u64>,
) -> Result<T, Refusal> {
    let number = value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    let in_range = number
        .filter(|number| range.contains(number))
        .and_then(NonZeroU64::new);
    in_range
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            let expected = match range.clone().into_inner() {
                (min, INTEGER_MAX) => format!("an integer of at least {min}"),
                (min, max) => format!("an integer from {min} to {max}"),
            };
            Refusal::new(expected, value)
        })
}

/// A number of a range, with or without a fraction.
pub(crate) fn number(value: &DeValue<'_>, range: RangeInclusive<f64>) -> Result<f64, Refusal> {
    let written = match value {
        DeValue::Float(float) => float.as_str(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        _ => "",
    };
    // An exponent, and underscores, are as good as any other way to write it; "nan" is in no range.
    let number = written.replace('_', "").parse().ok();
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (min, max) = range.into_inner();
            Refusal::new(format!("a number from {min} to {max}"), value)
        })
}
