//! What this process may have.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};

/// False, and says why, where fewer than `needed` descriptors may be open.
pub(crate) fn descriptors(needed: u64) -> bool {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => {
            println!(
                "skipped: {limit} descriptors may be open, and {needed} are needed; ulimit -n"
            );
            false
        }
        _ => true,
    }
}

/// Held by a test whose connections are thousands: those of one are as many descriptors as this process should have at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
