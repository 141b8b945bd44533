//! Workers that died and were replaced.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many there were, and which one is being replaced.
#[derive(Debug, Default)]
pub struct Restarts {
    replaced: AtomicU64,
    replacing: Mutex<Option<usize>>,
}

impl Restarts {
    /// A worker has died, by its index, and is to be replaced.
    pub fn begin(&self, worker: usize) {
        *self.lock() = Some(worker);
    }

    /// It is replaced: others accept in its place. The connections of those that live still move.
    pub fn count(&self) {
        self.replaced.fetch_add(1, Relaxed);
    }

    /// All connections have moved.
    pub fn end(&self) {
        *self.lock() = None;
    }

    /// Workers that were replaced so far.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced.load(Relaxed)
    }

    /// The worker that is being replaced, by its index.
    pub(crate) fn replacing(&self) -> Option<usize> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<usize>> {
        self.replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
