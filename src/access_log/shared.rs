//! What the log's thread shares with the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use proxy_core::Ends;

/// Counts, and what the thread is asked for.
pub(super) struct Shared {
    pub(super) ends: Arc<Ends>,
    pub(super) lines: AtomicU64,
    /// Lines that could not be written.
    pub(super) lost: AtomicU64,
    pub(super) reopen: AtomicBool,
    pub(super) stop: AtomicBool,
}

impl Shared {
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends: Arc::new(ends),
            lines: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// Lines that were written.
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// Lines that were not: the queue was full, or the output refused them.
    pub(super) fn dropped(&self) -> u64 {
        self.ends.dropped() + self.lost.load(Relaxed)
    }

    /// Reopens the file, before the next line is written at the latest.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, SeqCst);
        self.ends.nudge();
    }
}
