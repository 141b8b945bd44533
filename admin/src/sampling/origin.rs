//! The clocks of the admin server.

use std::time::{Instant, SystemTime};

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) instant: Instant,
    pub(crate) utc: SystemTime,
}

impl Origin {
    #[expect(clippy::disallowed_methods, reason = "times are told to people")]
    pub(crate) fn now() -> Self {
        Self {
            instant: now(),
            utc: SystemTime::now(),
        }
    }

    /// The time of day of a moment, the same one whenever it is asked for.
    pub(crate) fn utc_of(&self, moment: Instant) -> SystemTime {
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
pub(crate) fn now() -> Instant {
    Instant::now()
}
