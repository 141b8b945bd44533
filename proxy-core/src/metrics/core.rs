//! What one worker counts of itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// Connections that came from another process, and that this worker was the first one to have here.
    pub adopted: Counter,
    /// Connections that this worker had last, and that another process has now. Whoever sends them writes it.
    left: AtomicU64,
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

    /// A connection that this worker had last is another process's now. On any thread.
    pub(crate) fn on_left(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// Connections that this worker had last, and that another process has now.
    pub fn left(&self) -> u64 {
        self.left.load(Relaxed)
    }

    /// Connections that have gone from here: those that ended, and those that another process has now.
    fn gone(&self) -> u64 {
        self.ended.get() + self.left()
    }

    /// Connections that have come here from outside of the process's workers.
    fn come(&self) -> u64 {
        self.started.get() + self.adopted.get()
    }
}

impl PerWorker<CoreCells> {
    /// Connections that others took over from a worker.
    pub fn given(&self, slot: Slot) -> u64 {
        self.sum(|other| other.taken_from.of(slot).get())
    }

    /// Connections that a worker has now. One may begin on one worker, be taken over by others and end on any.
    pub fn connections(&self, slot: Slot) -> u64 {
        self.connections_of_all(std::iter::once(slot))
    }

    /// Connections that some workers have now, together. One that goes from one of them to another meanwhile may be counted
    /// twice, and is never left out.
    pub fn connections_of_all(&self, slots: impl Iterator<Item = Slot> + Clone) -> u64 {
        // What goes away is read first, of all of them, so that what comes meanwhile doesn't make the difference smaller.
        let gone = slots
            .clone()
            .map(|slot| self.of(slot).gone() + self.given(slot));
        let gone: u64 = gone.sum();
        let come = slots.map(|slot| self.of(slot).come() + self.of(slot).taken());
        come.sum::<u64>().saturating_sub(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;
    use crate::metrics::Slots;

    /// Looks while it goes to and fro.
    const LOOKS: usize = 20_000;

    #[test]
    fn a_connection_that_goes_to_and_fro_is_never_left_out() {
        let row = Slots::default().lend(2).unwrap();
        let slots = [row.slot(0), row.slot(1)];
        let cores = PerWorker::<CoreCells>::default();
        cores.of(slots[0]).started.increment();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    cores.of(slots[1]).taken_from.of(slots[0]).increment();
                    cores.of(slots[0]).taken_from.of(slots[1]).increment();
                }
            });
            let seen = (0..LOOKS).all(|_| cores.connections_of_all(slots.into_iter()) > 0);
            over.store(true, Relaxed);
            assert!(seen);
        });
        assert_eq!(cores.connections(slots[0]), 1);
        cores.of(slots[0]).ended.increment();
        assert_eq!(cores.connections_of_all(slots.into_iter()), 0);
    }
}
