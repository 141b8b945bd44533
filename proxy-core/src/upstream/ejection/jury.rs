//! What an upstream decides about its servers together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::epoch::Epoch;

/// How long the panic threshold's answer is used before the servers are counted again.
pub(crate) const PANIC_COUNT_INTERVAL: Duration = Duration::from_millis(100);

/// What an upstream decides about its servers together.
#[derive(Debug, Default)]
pub(crate) struct Jury {
    /// Held while a server is ejected.
    deciding: Mutex<()>,
    epoch: Epoch,
    /// When connect times are compared next, in nanoseconds from the epoch.
    compares_at: AtomicU64,
    /// When the servers were counted, plus one, and in the lowest bit whether few are available; zero: never.
    counted: AtomicU64,
}

impl Jury {
    /// One at a time ejects a server, or ends an ejection whose time is over.
    pub(crate) fn decide(&self) -> MutexGuard<'_, ()> {
        self.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to compare connect times: once an interval, for one worker.
    pub(crate) fn claim_comparison(&self, interval: Duration, now: Instant) -> bool {
        let after = self.epoch.note(now);
        let due = self.compares_at.load(Relaxed);
        if after < due {
            return false;
        }
        let next = after.saturating_add(interval.as_nanos() as u64);
        let claimed = self
            .compares_at
            .compare_exchange(due, next, Relaxed, Relaxed)
            .is_ok();
        // The first time only begins an interval.
        claimed && due != 0
    }

    /// Whether there is a panic, counted by `count` where the last count is older than [`PANIC_COUNT_INTERVAL`].
    pub(crate) fn is_panic(&self, now: Instant, count: impl FnOnce() -> bool) -> bool {
        let after = self.epoch.note(now);
        if let Some(last) = self.counted.load(Relaxed).checked_sub(1) {
            let age = after.saturating_sub(last >> 1);
            if age < PANIC_COUNT_INTERVAL.as_nanos() as u64 {
                return last & 1 != 0;
            }
        }
        let is_panic = count();
        self.counted
            .store((after << 1 | u64::from(is_panic)) + 1, Relaxed);
        is_panic
    }

    /// Somebody was ejected: the next question counts.
    pub(crate) fn count_again(&self) {
        self.counted.store(0, Relaxed);
    }
}
