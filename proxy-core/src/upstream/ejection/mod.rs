//! Servers that are left alone for a while because connections to them go wrong: by what traffic meets, beside the checks or
//! without them.
//!
//! Each server keeps what became of its last connections in words that all workers share. They are touched once a connection,
//! written only where something changes, and never for a message. A decision to eject is rare, and is made under a lock of the
//! upstream, so that the largest share holds exactly, whichever workers find out at the same time.

pub(crate) mod conduct;
pub(crate) mod judging;
pub(crate) mod jury;
pub(crate) mod slow;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

/// When servers are ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionSettings {
    /// Failures in a row that eject a server: of connects, or of connections that it ends early.
    pub consecutive_failures: NonZeroU32,
    /// A server that ends a connection within this time, before it sent a byte, has failed; none: that is no failure.
    pub early: Option<Duration>,
    /// How many times the median of the others a server's mean connect time may be.
    pub slow_factor: NonZeroU32,
    /// Over which time connect times are compared. For each such time that passes after an ejection, one ejection is forgotten.
    pub interval: Duration,
    /// How long the first ejection lasts; the second one twice as long, and so on.
    pub base: Duration,
    /// How long an ejection lasts at most.
    pub max: Duration,
    /// How many percent of the servers may be ejected at a time; one always may.
    pub largest_share: u8,
    /// Where less than so many percent of the servers are available, nobody is passed over for being ejected.
    pub panic_threshold: u8,
}

impl EjectionSettings {
    /// How many of so many servers may be ejected at a time.
    pub(crate) fn most(&self, servers: usize) -> usize {
        (servers * usize::from(self.largest_share) / 100).max(1)
    }

    /// Whether so few are available that who is ejected is tried like the others.
    pub(crate) fn is_panic(&self, available: usize, servers: usize) -> bool {
        available * 100 < servers * usize::from(self.panic_threshold)
    }

    /// How long the ejection lasts that is a server's `times`th.
    pub(crate) fn length(&self, times: u32) -> Duration {
        self.base.saturating_mul(times).min(self.max.max(self.base))
    }
}

/// Why a server is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectionCause {
    /// Connects failed, one after the other.
    ConnectFailures,
    /// It ended connections soon after they had begun, one after the other, and sent nothing.
    EarlyEnds,
    /// Connects to it take much longer than to the others.
    SlowConnects,
}

impl EjectionCause {
    /// Every cause, in the order of its counters.
    pub const ALL: [Self; 3] = [Self::ConnectFailures, Self::EarlyEnds, Self::SlowConnects];

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ConnectFailures => "connect_failures",
            Self::EarlyEnds => "early_ends",
            Self::SlowConnects => "slow_connects",
        }
    }
}
