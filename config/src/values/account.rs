//! Users and groups.

use std::fmt;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};

/// The longest name of a user or a group, in bytes: what Linux's own tools allow.
pub const ACCOUNT_BYTES_MAX: usize = 32;

const ACCOUNT: &str = "a name or a number in a string";

/// The number that means "nobody is meant" to the kernel.
const NO_ACCOUNT: u32 = u32::MAX;

/// A user, or a group of users; displayed as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// By its name, which nobody has looked up yet: at most [`ACCOUNT_BYTES_MAX`] bytes.
    Name(String),
    /// By its number.
    Id(u32),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl Read for Account {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        let written = string(value, ACCOUNT)?;
        let refused = || Refusal::new(ACCOUNT, value);
        if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) {
            let id = written.parse().ok().filter(|id| *id != NO_ACCOUNT);
            return id.map(Self::Id).ok_or_else(refused);
        }
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_name = (1..=ACCOUNT_BYTES_MAX).contains(&written.len())
            && written.bytes().all(valid)
            && !written.starts_with(['-', '.']);
        if is_name {
            Ok(Self::Name(written.to_owned()))
        } else {
            Err(refused())
        }
    }
}
