//! Telling another thread of ends, without waiting for it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::connection::end::End;
use crate::metrics::{Counter, PerWorker, Slot};

/// A bounded queue of ends, with the workers at one side.
///
/// A worker never waits for room. It makes a system call only when the other side sleeps.
#[derive(Debug)]
pub struct Ends {
    queue: SyncSender<Option<End>>,
    dropped: PerWorker<Counter>,
}

impl Ends {
    /// A queue of `bound` ends, and the side of it that is read. It gives none in place of an end after [`Ends::nudge`].
    pub fn new(bound: usize) -> (Self, Receiver<Option<End>>) {
        let (queue, read) = sync_channel(bound);
        let dropped = PerWorker::default();
        (Self { queue, dropped }, read)
    }

    /// Wakes whoever reads, if it sleeps.
    pub fn nudge(&self) {
        // A full queue has no sleeping reader.
        let _ = self.queue.try_send(None);
    }

    /// Ends that the queue had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped.sum(Counter::get)
    }

    /// Leaves an end, or counts it as dropped. On the thread of the worker that has the slot only.
    pub(crate) fn report(&self, slot: Slot, end: End) {
        if self.queue.try_send(Some(end)).is_err() {
            self.dropped.of(slot).increment();
        }
    }
}
