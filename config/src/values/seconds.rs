//! Durations of whole seconds, for what the kernel counts in them.

use std::time::Duration;

use toml::de::DeValue;

use super::duration::written;
use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::Read;

/// From 1 to 32767 seconds; displayed as a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(u16);

impl Seconds {
    /// The most that the kernel takes.
    pub(crate) const MAX: u16 = 32_767;

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&written(Duration::from_secs(self.0.into())))
    }
}

impl Read for Seconds {
    fn read(value: &DeValue<'_>, kind: &Kind) -> Result<Self, Refusal> {
        let Kind::Seconds { max } = *kind else {
            kind.is_no("duration of whole seconds");
        };
        let limits = Kind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(max.into()),
        };
        let duration = Duration::read(value, &limits)?;
        match u16::try_from(duration.as_secs()) {
            Ok(seconds) if duration.subsec_nanos() == 0 => Ok(Self(seconds)),
            _ => Err(Refusal::new("a duration of whole seconds", value)),
        }
    }
}
