//! How upgrades went.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was counted of them.
#[derive(Debug, Default)]
pub struct Upgrades {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Upgrades {
    /// An upgrade is over: another process has taken over, or this one goes on.
    pub fn count(&self, succeeded: bool) {
        let count = match succeeded {
            true => &self.succeeded,
            false => &self.failed,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Those that succeeded, and those that failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.succeeded.load(Relaxed), self.failed.load(Relaxed))
    }
}
