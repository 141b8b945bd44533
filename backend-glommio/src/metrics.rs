//! What only this scheduler has to tell.

use std::sync::Arc;

use proxy_core::metrics::{Counter, PerWorker};

use crate::readiness::Readiness;

/// What there is to read of a running proxy.
#[derive(Clone, Debug)]
pub struct Cells {
    /// Where readiness comes from, for every worker.
    pub readiness: Readiness,
    /// By worker, then by listener in the order of the plan.
    pub queues: Arc<PerWorker<Box<[QueueCells]>>>,
    /// By worker.
    pub rings: Arc<PerWorker<RingCells>>,
}

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
    rings: Arc<PerWorker<RingCells>>,
    worker: usize,
}

impl Cells {
    /// Nothing has happened yet.
    pub fn new(readiness: Readiness, workers: usize, listeners: usize) -> Self {
        let queues = || (0..listeners).map(|_| QueueCells::default()).collect();
        Self {
            readiness,
            queues: Arc::new(PerWorker::new(workers, queues)),
            rings: Arc::new(PerWorker::new(workers, RingCells::default)),
        }
    }

    /// What a worker counts its ring's traffic into.
    pub(crate) fn ring_of(&self, worker: usize) -> OwnRing {
        OwnRing {
            rings: self.rings.clone(),
            worker,
        }
    }
}

impl OwnRing {
    pub(crate) fn cells(&self) -> &RingCells {
        self.rings.of(self.worker)
    }
}
