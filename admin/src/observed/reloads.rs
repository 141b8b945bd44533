//! How reading the configuration went.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Bytes of a refusal's reason that are kept for people who look; the log has all of it.
const REASON_BYTES_MAX: usize = 400;

/// When the configuration was last read with success, and whether it was in order when it was last read.
pub struct Reloads {
    at: Mutex<SystemTime>,
    /// None: the last reading succeeded.
    refused: Mutex<Option<Refusal>>,
}

/// A configuration that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When it was read.
    pub at: SystemTime,
    /// Of a long one, the beginning.
    pub reason: String,
}

impl Reloads {
    /// The first reading, which succeeded.
    pub fn new(at: SystemTime) -> Self {
        Self {
            at: Mutex::new(at),
            refused: Mutex::default(),
        }
    }

    /// Whether the last reading did.
    pub fn succeeded(&self) -> bool {
        self.refusal().is_none()
    }

    /// When the last reading that succeeded was.
    pub fn at(&self) -> SystemTime {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the last reading was refused; none: it succeeded.
    pub fn refusal(&self) -> Option<Refusal> {
        self.lock_refused().clone()
    }

    /// Notes how a reading went, which was refused for that reason, or succeeded.
    pub fn note(&self, refused: Option<&str>) {
        *self.lock_refused() = refused.map(|reason| Refusal {
            at: now(),
            reason: reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned(),
        });
        if refused.is_none() {
            *self.at.lock().unwrap_or_else(PoisonError::into_inner) = now();
        }
    }

    fn lock_refused(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "when the configuration was read, for people"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_kept_until_a_reload_succeeds() {
        let reloads = Reloads::new(SystemTime::UNIX_EPOCH);
        assert!(reloads.succeeded());
        reloads.note(Some(&"ä".repeat(REASON_BYTES_MAX)));
        let refusal = reloads.refusal().expect("a refusal");
        assert_eq!(refusal.reason, "ä".repeat(REASON_BYTES_MAX / 2));
        assert_eq!(
            (reloads.succeeded(), reloads.at()),
            (false, SystemTime::UNIX_EPOCH)
        );
        reloads.note(None);
        assert_eq!(reloads.refusal(), None);
        assert!(reloads.at() >= refusal.at);
    }
}
