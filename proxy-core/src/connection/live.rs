//! A listener's live connections, for whoever wants to list them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::origin::Origin;
use crate::connection::record::{LiveConnection, Record};
use crate::metrics::{PerWorker, Slot};

/// Connections that are sampled in one go. A worker that opens or closes one meanwhile waits for as long as that
/// takes: a few microseconds.
pub const SAMPLED_MAX: usize = 128;

/// Ids that a shard takes at a time, so that workers share nothing for most connections.
const IDS_AT_A_TIME: u64 = 1024;

/// Where the next shard that has no ids left finds some.
static IDS: AtomicU64 = AtomicU64::new(1);

/// Ids that another process may still give out after it has said where it is.
const IDS_OF_ANOTHER: u64 = 1 << 32;

/// An id that this process has given out none beyond, so that another one can go on with those that follow.
pub fn last_id() -> u64 {
    IDS.load(Relaxed)
}

/// Gives out ids that are none of another process's, which has given out none beyond `last`, and gives out few more.
pub fn continue_ids(last: u64) {
    IDS.fetch_max(last.saturating_add(IDS_OF_ANOTHER), Relaxed);
}

/// The live connections of one listener: a shard a worker, which is locked when a connection opens or closes and never
/// for a message.
#[derive(Debug, Default)]
pub struct Live(PerWorker<Mutex<Shard>>);

/// A connection's place in a [`Live`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    shard: Slot,
    index: u32,
}

/// Connections that one worker began; they stay here when they move.
#[derive(Debug, Default)]
struct Shard {
    /// A connection keeps its place, so that a look may go on where the last one ended.
    places: Vec<Option<Arc<Record>>>,
    free: Vec<u32>,
    next_id: u64,
    ids_end: u64,
}

impl Live {
    /// Shows every connection to `show`, in no order. One that is open all the while is shown once.
    ///
    /// No lock is held while `show` runs, and no lock for longer than [`SAMPLED_MAX`] connections take.
    pub fn each(&self, show: impl FnMut(LiveConnection)) {
        self.show(usize::MAX, show);
    }

    /// The same, for about `max` connections at most: those in the first places of each worker.
    pub fn first(&self, max: usize, show: impl FnMut(LiveConnection)) {
        let used = self.0.iter().filter(|shard| !lock(shard).places.is_empty());
        self.show(max.div_ceil(used.count().max(1)), show);
    }

    fn show(&self, places_max: usize, mut show: impl FnMut(LiveConnection)) {
        let mut sampled = Vec::with_capacity(SAMPLED_MAX);
        for shard in self.0.iter() {
            let mut from = 0;
            loop {
                let shard = lock(shard);
                let end = shard.places.len().min(from + SAMPLED_MAX).min(places_max);
                if from >= end {
                    break;
                }
                let records = shard.places[from..end].iter().flatten();
                sampled.extend(records.map(|record| record.sample()));
                drop(shard);
                sampled.drain(..).for_each(&mut show);
                from = end;
            }
        }
    }

    /// An id for a connection that ends before it was one.
    pub(crate) fn id(&self, slot: Slot) -> u64 {
        lock(self.0.of(slot)).id()
    }

    /// Enters a connection that a worker begins; `in_prologue` says whether its client is heard first.
    pub(crate) fn enter(
        &self,
        slot: Slot,
        origin: Origin,
        in_prologue: bool,
    ) -> (Arc<Record>, Place) {
        let mut shard = lock(self.0.of(slot));
        let record = Record::new(shard.id(), origin, slot.index(), in_prologue);
        let record = Arc::new(record);
        let index = shard.enter(&record);
        (record, Place { shard: slot, index })
    }

    /// Enters a connection that another process began; a worker has it now.
    pub(crate) fn enter_again(&self, slot: Slot, record: &Arc<Record>) -> Place {
        let index = lock(self.0.of(slot)).enter(record);
        Place { shard: slot, index }
    }

    /// More is known of the connection in a place.
    pub(crate) fn replace(&self, place: Place, record: Arc<Record>) {
        lock(self.0.of(place.shard)).places[place.index as usize] = Some(record);
    }

    /// The connection in a place is not shown any more.
    pub(crate) fn leave(&self, place: Place) {
        let mut shard = lock(self.0.of(place.shard));
        shard.places[place.index as usize] = None;
        shard.free.push(place.index);
    }
}

impl Shard {
    /// Gives a connection a place.
    fn enter(&mut self, record: &Arc<Record>) -> u32 {
        if let Some(index) = self.free.pop() {
            self.places[index as usize] = Some(record.clone());
            index
        } else {
            self.places.push(Some(record.clone()));
            (self.places.len() - 1) as u32
        }
    }

    fn id(&mut self) -> u64 {
        if self.next_id == self.ids_end {
            self.next_id = IDS.fetch_add(IDS_AT_A_TIME, Relaxed);
            self.ids_end = self.next_id + IDS_AT_A_TIME;
        }
        self.next_id += 1;
        self.next_id - 1
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::origin::ClientAddress;
    use crate::metrics::Slots;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn the_first_ones_are_no_more_than_asked_for() {
        const WORKERS: usize = 2;
        let row = Slots::default().lend(WORKERS).expect("there is room");
        let live = Live::default();
        let origin = Origin {
            peer: ClientAddress::Unix,
            accepted_at: std::time::Instant::now(),
        };
        let places: Vec<_> = (0..3 * SAMPLED_MAX)
            .map(|number| live.enter(row.slot(number % WORKERS), origin, false).1)
            .collect();
        let count = |max| {
            let mut count = 0;
            live.first(max, |_| count += 1);
            count
        };
        assert_eq!(count(2 * SAMPLED_MAX + 2), 2 * SAMPLED_MAX + 2);
        assert_eq!(count(usize::MAX), places.len());
        assert_eq!(count(0), 0);
        places.into_iter().for_each(|place| live.leave(place));
        assert_eq!(count(usize::MAX), 0);
    }
}
