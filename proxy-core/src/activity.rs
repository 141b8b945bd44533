//! Lets a thread that watches the workers sleep while they do.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};

/// Tells one watching thread that a worker runs connections again.
///
/// While the watcher is awake a worker pays one load of a line that nobody writes.
#[derive(Debug, Default)]
pub struct Activity {
    asleep: AtomicBool,
    watcher: Mutex<Option<Thread>>,
}

impl Activity {
    /// A worker runs a connection.
    pub fn note(&self) {
        if self.asleep.load(Relaxed) {
            self.wake();
        }
    }

    /// Wakes the watcher if it sleeps.
    pub fn wake(&self) {
        if self.asleep.swap(false, SeqCst)
            && let Some(watcher) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
        {
            watcher.unpark();
        }
    }

    /// Sleeps until a worker runs a connection. For the one watcher only.
    ///
    /// A connection that is run while this begins may go unnoticed until the next one is.
    pub fn sleep(&self) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
        self.asleep.store(true, SeqCst);
        while self.asleep.load(SeqCst) {
            thread::park();
        }
    }
}
