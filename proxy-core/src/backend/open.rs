//! The sockets that one scheduler accepts from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// How many there are.
#[derive(Clone, Debug, Default)]
pub struct OpenSockets(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct OpenSocket(OpenSockets);

impl OpenSockets {
    /// One more.
    pub fn open(&self) -> OpenSocket {
        self.0.fetch_add(1, Relaxed);
        OpenSocket(self.clone())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.load(Acquire) == 0
    }
}

impl OpenSocket {
    /// Counts as one more, for a connection that was accepted from this one and that no worker counts yet.
    pub fn again(&self) -> Self {
        self.0.open()
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        // Who sees it sees the connections that were counted before, too.
        self.0.0.fetch_sub(1, Release);
    }
}
