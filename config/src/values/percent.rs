//! Parts of a whole: `"10%"`.

use std::fmt;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};

/// A whole number of percent, displayed as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// The number, 0 to 100.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Read for Percent {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        let Kind::Percent { max } = *kind else {
            kind.is_no("percentage");
        };
        let expected = format!("a percentage from \"0%\" to \"{max}%\"");
        let written = string(value, &expected)?;
        let number = written.strip_suffix('%').filter(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let number = number.and_then(|number| number.parse().ok());
        match number.filter(|&number| number <= max) {
            Some(number) => Ok(Self(number)),
            None => Err(Refusal::new(expected, value)),
        }
    }
}
