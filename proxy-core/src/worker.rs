//! What one worker owns and lends to the connections that it runs.

use std::sync::Arc;
use std::time::Instant;

use crate::activity::Activity;
use crate::metrics::{CoreCells, PerWorker};
use crate::relay::buffer::Buffers;

/// One worker: its buffers, its counters, and the time that it passes in.
#[derive(Debug)]
pub struct Worker {
    /// The worker's index, which is the label `core`.
    pub index: usize,
    /// The time, as of the last time the scheduler looked. Connections never ask a clock.
    pub now: Instant,
    pub(crate) buffers: Buffers,
    cores: Arc<PerWorker<CoreCells>>,
    pub(crate) activity: Arc<Activity>,
}

impl Worker {
    /// The worker with this index into `cores`.
    pub fn new(
        index: usize,
        now: Instant,
        cores: Arc<PerWorker<CoreCells>>,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            index,
            now,
            buffers: Buffers::new(),
            cores,
            activity,
        }
    }

    /// This worker's own counters.
    pub fn cells(&self) -> &CoreCells {
        self.cores.of(self.index)
    }
}
