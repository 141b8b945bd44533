//! Moments that workers share, each as one word.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The first moment that was noted, from which others are counted.
#[derive(Debug, Default)]
pub(crate) struct Epoch(OnceLock<Instant>);

impl Epoch {
    /// Nanoseconds from the epoch to `now`, which becomes the epoch if there is none yet. A clock that is behind counts as
    /// zero.
    pub(crate) fn note(&self, now: Instant) -> u64 {
        nanoseconds(*self.0.get_or_init(|| now), now)
    }

    /// The same without noting it.
    pub(crate) fn until(&self, now: Instant) -> u64 {
        self.0.get().map_or(0, |&epoch| nanoseconds(epoch, now))
    }

    /// The moment that so many nanoseconds stand for.
    pub(crate) fn moment(&self, after: u64) -> Option<Instant> {
        Some(*self.0.get()? + Duration::from_nanos(after))
    }
}

fn nanoseconds(epoch: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(epoch).as_nanos() as u64
}

/// Any moment will do: for tests, whose time is virtual from there on.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any moment will do")]
pub(crate) fn origin() -> Instant {
    Instant::now()
}
