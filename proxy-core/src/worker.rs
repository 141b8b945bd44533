//! What one worker owns and lends to the connections that it runs.

use std::sync::Arc;
use std::time::Instant;

use crate::activity::Activity;
use crate::closing::ClosingCell;
use crate::generation::Generation;
use crate::metrics::{CoreCells, PerWorker, Slot};
use crate::relay::buffer::Buffers;
use crate::table::Table;

/// One worker: its buffers, its counters, and the time that it passes in.
#[derive(Debug)]
pub struct Worker {
    /// The worker's index, which is the label `core`.
    pub index: usize,
    /// The time, as of the last time the scheduler looked. Connections never ask a clock.
    pub now: Instant,
    slot: Slot,
    pub(crate) buffers: Buffers,
    cores: Arc<PerWorker<CoreCells>>,
    pub(crate) activity: Arc<Activity>,
    table: Arc<Table>,
    generation: Arc<Generation>,
}

impl Worker {
    /// The worker with this index of `generation`.
    ///
    /// # Panics
    /// If it has no such worker.
    pub fn new(generation: Arc<Generation>, index: usize, now: Instant) -> Self {
        Self {
            index,
            now,
            slot: generation.slot(index),
            buffers: Buffers::new(),
            cores: generation.cores.clone(),
            activity: generation.activity.clone(),
            table: generation.tables.current(),
            generation,
        }
    }

    /// Where it counts.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// This worker's own counters.
    pub fn cells(&self) -> &CoreCells {
        self.cores.of(self.slot)
    }

    /// What is to become of its connections.
    pub(crate) fn closing(&self) -> &ClosingCell {
        &self.generation.closing
    }

    /// Whether the workers of another generation accept in place of this one's.
    pub(crate) fn is_succeeded(&self) -> bool {
        self.generation.is_succeeded()
    }

    /// Whether workers of the generation before may leave clients that wait.
    pub(crate) fn is_inheriting(&self) -> bool {
        self.generation.is_inheriting()
    }

    /// What is configured now: to be asked once a connection, as it reads a word that is written at a change.
    pub fn table(&mut self) -> &Arc<Table> {
        let tables = &self.generation.tables;
        if tables.number() != self.table.number() {
            self.table = tables.current();
        }
        &self.table
    }
}
