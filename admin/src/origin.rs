//! The clocks of the admin server.

use std::time::{Instant, SystemTime};

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) instant: Instant,
    pub(super) utc: SystemTime,
}

impl Origin {
    #[expect(clippy::disallowed_methods, reason = "times are told to people")]
    pub(super) fn now() -> Self {
        Self {
            instant: now(),
            utc: SystemTime::now(),
        }
    }

    /// The time of day of a moment, the same one whenever it is asked for.
    pub(super) fn utc_of(&self, moment: Instant) -> SystemTime {
        match moment.checked_duration_since(self.instant) {
            Some(after) => self.utc + after,
            None => self.utc - self.instant.saturating_duration_since(moment),
        }
    }
}

/// The one clock of the admin server.
#[expect(
    clippy::disallowed_methods,
    reason = "the one clock of the admin server"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
