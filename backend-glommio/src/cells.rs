//! What only this scheduler counts.

use std::sync::Arc;

use proxy_core::metrics::{ByIndex, Counter};

/// Glommio's account of one listener's task queue on one core. Published at most ten times a second.
#[derive(Debug, Default)]
pub struct QueueCells {
    /// Nanoseconds that the queue's tasks ran.
    pub runtime_nanoseconds: Counter,
    /// Times that the scheduler chose the queue.
    pub selected: Counter,
}

/// One worker's traffic with what it gets its readiness from and sleeps in. Counted once a system call, by the worker.
#[derive(Debug, Default)]
pub struct RingCells {
    /// System calls: `io_uring_enter`, or `epoll_wait` and `epoll_ctl`.
    pub enters: Counter,
    /// Those that were allowed to sleep.
    pub sleeps: Counter,
    /// Completions taken, or epoll's events.
    pub completions: Counter,
    /// System calls before which more completions waited than the queue had room for.
    pub overflows: Counter,
    /// Watches that the kernel ended by itself and that were begun again.
    pub rearms: Counter,
}

/// The cells of a worker's own ring.
#[derive(Clone, Debug)]
pub(crate) struct OwnRing {
    rings: Arc<ByIndex<RingCells>>,
    worker: usize,
}

impl OwnRing {
    pub(crate) fn new(rings: Arc<ByIndex<RingCells>>, worker: usize) -> Self {
        Self { rings, worker }
    }

    pub(crate) fn cells(&self) -> &RingCells {
        self.rings.of(self.worker)
    }
}
