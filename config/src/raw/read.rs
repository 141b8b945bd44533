//! What values are read as.

use std::num::{NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::problems::suggest::did_you_mean;

/// The end of a range of integers that has none of its own: the largest integer of TOML.
pub(crate) const INTEGER_MAX: u64 = i64::MAX as u64;

/// A type that a value is read as, within the limits of its key.
pub(crate) trait Read: Sized {
    /// Reads a value of a key of this kind.
    ///
    /// # Panics
    ///
    /// If the kind is of another type, whatever the value is.
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal>;
}

impl Read for bool {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        value
            .as_bool()
            .ok_or_else(|| Refusal::new("true or false", value))
    }
}

impl Read for String {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        string(value, "a string").map(str::to_owned)
    }
}

impl Read for f64 {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        match *kind {
            Kind::Number { min, max } => number(value, min..=max),
            _ => kind.is_no("number"),
        }
    }
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Read for $type {
            fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
                match *kind {
                    Kind::Integer { min, max } => integer(value, min..=max),
                    Kind::PowerOfTwo { min, max } => integer::<Self>(value, min..=max)
                        .ok()
                        .filter(|number| number.is_power_of_two())
                        .ok_or_else(|| {
                            Refusal::new(format!("a power of two from {min} to {max}"), value)
                        }),
                    _ => kind.is_no("integer"),
                }
            }
        }
    )+};
}

integers!(NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64);

impl Read for u16 {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        match kind {
            Kind::Integer { min, max } => {
                let range = *min..=*max;
                let number = whole(value, &range)?;
                Self::try_from(number).map_err(|_| no_integer(value, &range))
            }
            _ => kind.is_no("integer"),
        }
    }
}

/// A string; `expected` says which.
pub(crate) fn string<'v>(value: &'v DeValue<'_>, expected: &str) -> Result<&'v str, Refusal> {
    value.as_str().ok_or_else(|| Refusal::new(expected, value))
}

/// The place of a value among `names`.
pub(crate) fn choice(value: &DeValue<'_>, names: &[&str]) -> Result<usize, Refusal> {
    let expected = || {
        names
            .iter()
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(" or ")
    };
    let written = string(value, &expected())?;
    let chosen = names.iter().position(|name| *name == written);
    chosen.ok_or_else(|| {
        let advice = did_you_mean(written, names.iter().copied());
        Refusal::new(expected(), value).advise(advice)
    })
}

/// An integer of a range that starts at 1 or later and fits into `T`.
pub(crate) fn integer<T: TryFrom<NonZeroU64>>(
    value: &DeValue<'_>,
    range: RangeInclusive<u64>,
) -> Result<T, Refusal> {
    let number = NonZeroU64::new(whole(value, &range)?);
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| no_integer(value, &range))
}

/// An integer of a range.
fn whole(value: &DeValue<'_>, range: &RangeInclusive<u64>) -> Result<u64, Refusal> {
    let number = value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    let in_range = number.filter(|number| range.contains(number));
    in_range.ok_or_else(|| no_integer(value, range))
}

fn no_integer(value: &DeValue<'_>, range: &RangeInclusive<u64>) -> Refusal {
    let expected = match (*range.start(), *range.end()) {
        (min, INTEGER_MAX) => format!("an integer of at least {min}"),
        (min, max) => format!("an integer from {min} to {max}"),
    };
    Refusal::new(expected, value)
}

/// A number of a range, with or without a fraction.
fn number(value: &DeValue<'_>, range: RangeInclusive<f64>) -> Result<f64, Refusal> {
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
