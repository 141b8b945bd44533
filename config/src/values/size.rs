//! Sizes in bytes, written as whole numbers with a unit: `"64KiB"`, `"100MiB"`, `"10MB"`.

use std::fmt;
use std::num::NonZeroU64;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};

/// The units in bytes, the largest first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes; displayed in the largest unit that divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(NonZeroU64);

impl Size {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(self.bytes()))
    }
}

impl Read for Size {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        let Kind::Size { min, max } = *kind else {
            kind.is_no("size");
        };
        let expected = format!("a size from {} to {}", written(min), written(max));
        let text = string(value, &expected).map_err(|refusal| refusal.advise(advice(value)))?;
        match parse(text) {
            Some(bytes) if (min..=max).contains(&bytes) => NonZeroU64::new(bytes)
                .map(Self)
                .ok_or_else(|| Refusal::new(expected, value)),
            Some(_) => Err(Refusal::new(expected, value)),
            None => Err(Refusal::new(expected, value).advise(SYNTAX.to_owned())),
        }
    }
}

const SYNTAX: &str =
    "write a whole number with a unit: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, as in \"100MiB\"";

/// What to tell someone who wrote a bare number.
fn advice(value: &DeValue<'_>) -> Option<String> {
    let bytes = value.as_integer()?;
    let plain = bytes.as_str().bytes().all(|byte| byte.is_ascii_digit());
    let bytes = bytes.as_str();
    plain.then(|| format!("a size is a string with a unit, such as \"{bytes}B\""))
}

fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// A number of bytes in the largest unit that divides it.
pub(crate) fn written(bytes: u64) -> String {
    let divides = |(_, scale): &&(&str, u64)| bytes >= *scale && bytes.is_multiple_of(*scale);
    match UNITS.iter().find(divides) {
        Some((unit, scale)) => format!("{}{unit}", bytes / scale),
        None => "0B".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_a_unit() {
        for (text, bytes) in [
            ("1B", Some(1)),
            ("64KiB", Some(65_536)),
            ("010MB", Some(10_000_000)),
            ("2TiB", Some(2 << 40)),
            ("1", None),
            ("KiB", None),
            ("1 KiB", None),
            ("1.5MiB", None),
            ("1kib", None),
            ("1K", None),
            ("-1B", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back(bytes in 1_u64..) {
            prop_assert_eq!(parse(&written(bytes)), Some(bytes));
        }
    }
}
