//! What one worker counts of itself.

use super::{Counter, PerSlot, PerWorker, Slot};

/// Counters of one worker, whatever it works for.
#[derive(Debug, Default)]
pub struct CoreCells {
    /// Times that a connection was run.
    pub polls: Counter,
    /// Connections that began here.
    pub started: Counter,
    /// Connections that ended here, wherever they began.
    pub ended: Counter,
    /// Connections that this worker took over, by the slot of the worker that ran them last.
    pub taken_from: PerSlot<Counter>,
    /// Connections that panicked here.
    pub panics: Counter,
    /// Nanoseconds in which the scheduler ran tasks or looked for them, as it says itself.
    pub busy_nanoseconds: Counter,
}

impl CoreCells {
    /// Connections that this worker took over.
    pub fn taken(&self) -> u64 {
        self.taken_from.iter().map(Counter::get).sum()
    }
}

impl PerWorker<CoreCells> {
    /// Connections that others took over from a worker.
    pub fn given(&self, slot: Slot) -> u64 {
        self.sum(|other| other.taken_from.of(slot).get())
    }

    /// Connections that a worker has now. One may begin on one worker, be taken over by others and end on any.
    pub fn connections(&self, slot: Slot) -> u64 {
        let cells = self.of(slot);
        // What goes away is read first, so that what comes meanwhile doesn't make the difference negative.
        let gone = cells.ended.get() + self.given(slot);
        (cells.started.get() + cells.taken()).saturating_sub(gone)
    }
}
