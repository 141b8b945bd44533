//! The class of service of packets: a number, or its name.

use std::fmt;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::problems::suggest::did_you_mean;
use crate::raw::read::Read;

/// A code point of differentiated services, 0 to 63; displayed as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dscp(u8);

/// The largest.
pub(crate) const DSCP_MAX: u8 = 63;

/// The names that RFC 2474, 2597, 3246, 5865 and 8622 gave them.
const CLASSES: [(&str, u8); 24] = [
    ("df", 0),
    ("le", 1),
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("va", 44),
    ("ef", 46),
];

/// The same names, for the reference.
pub(crate) const NAMES: &[&str] = &{
    let mut names = [""; CLASSES.len()];
    let mut at = 0;
    while at < CLASSES.len() {
        names[at] = CLASSES[at].0;
        at += 1;
    }
    names
};

impl Dscp {
    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Read for Dscp {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        let Kind::Dscp = kind else {
            kind.is_no("class of service");
        };
        let refuse = || {
            Refusal::new(
                "an integer from 0 to 63 or a name such as \"ef\", \"cs1\" or \"af11\"",
                value,
            )
        };
        if let Some(name) = value.as_str() {
            let class = CLASSES.iter().find(|(known, _)| *known == name);
            let advice = || did_you_mean(name, NAMES.iter().copied());
            return match class {
                Some((_, class)) => Ok(Self(*class)),
                None => Err(refuse().advise(advice())),
            };
        }
        let number = value.as_integer();
        let number =
            number.and_then(|number| u8::from_str_radix(number.as_str(), number.radix()).ok());
        match number.filter(|number| *number <= DSCP_MAX) {
            Some(number) => Ok(Self(number)),
            None => Err(refuse()),
        }
    }
}
