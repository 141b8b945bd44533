//! A listener's live connections, for whoever wants to list them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::connection::attempts::Attempts;
use crate::connection::end::{End, Termination};
use crate::connection::origin::Origin;
use crate::connection::record::{LiveConnection, Record};
use crate::listener::Listener;
use crate::metrics::{Cause, PerWorker};

/// Connections that are looked at in one go. A worker that opens or closes one meanwhile waits for as long as that
/// takes: a few microseconds.
pub const LOOK_MAX: usize = 128;

/// Ids that a shard takes at a time, so that workers share nothing for most connections.
const IDS_AT_A_TIME: u64 = 1024;

/// No connection's slot. An option would take four bytes more of each connection.
const NO_SLOT: u32 = u32::MAX;

/// Where the next shard that has no ids left finds some.
static IDS: AtomicU64 = AtomicU64::new(1);

/// The live connections of one listener: a shard a worker, which is locked when a connection opens or closes and never
/// for a message.
#[derive(Debug)]
pub struct Live(PerWorker<Mutex<Shard>>);

/// Connections that one worker began; they stay here when they move.
#[derive(Debug, Default)]
struct Shard {
    /// A connection keeps its slot, so that a look may go on where the last one ended.
    slots: Vec<Option<Arc<Record>>>,
    free: Vec<u32>,
    next_id: u64,
    ids_end: u64,
}

/// A connection's place among the live ones, left when this is dropped at the latest.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) listener: Arc<Listener>,
    pub(crate) record: Arc<Record>,
    shard: u32,
    /// [`NO_SLOT`] once it has left.
    slot: u32,
}

impl Live {
    pub(crate) fn new(workers: usize) -> Self {
        Self(PerWorker::new(workers, Mutex::default))
    }

    /// Shows every connection to `show`, in no order. One that is open all the while is shown once.
    ///
    /// No lock is held while `show` runs, and no lock for longer than [`LOOK_MAX`] connections take.
    pub fn each(&self, show: impl FnMut(LiveConnection)) {
        self.show(usize::MAX, show);
    }

    /// The same, for about `max` connections at most: those in the first places of each worker.
    pub fn first(&self, max: usize, show: impl FnMut(LiveConnection)) {
        self.show(max.div_ceil(self.0.iter().count().max(1)), show);
    }

    fn show(&self, places_max: usize, mut show: impl FnMut(LiveConnection)) {
        let mut looked = Vec::with_capacity(LOOK_MAX);
        for shard in self.0.iter() {
            let mut from = 0;
            loop {
                let shard = lock(shard);
                let end = shard.slots.len().min(from + LOOK_MAX).min(places_max);
                if from >= end {
                    break;
                }
                let records = shard.slots[from..end].iter().flatten();
                looked.extend(records.map(|record| record.look()));
                drop(shard);
                looked.drain(..).for_each(&mut show);
                from = end;
            }
        }
    }

    /// An id for a connection that ends before it was one.
    pub(crate) fn id(&self, worker: usize) -> u64 {
        lock(self.0.of(worker)).id()
    }
}

impl Shard {
    fn id(&mut self) -> u64 {
        if self.next_id == self.ids_end {
            self.next_id = IDS.fetch_add(IDS_AT_A_TIME, Relaxed);
            self.ids_end = self.next_id + IDS_AT_A_TIME;
        }
        self.next_id += 1;
        self.next_id - 1
    }
}

impl Entry {
    /// Enters a connection that `worker` begins.
    pub(crate) fn new(listener: Arc<Listener>, worker: usize, origin: Origin) -> Self {
        let mut shard = lock(listener.live.0.of(worker));
        let record = Arc::new(Record::new(shard.id(), origin, worker));
        let slot = if let Some(slot) = shard.free.pop() {
            shard.slots[slot as usize] = Some(record.clone());
            slot
        } else {
            shard.slots.push(Some(record.clone()));
            (shard.slots.len() - 1) as u32
        };
        drop(shard);
        Self {
            listener,
            record,
            shard: worker as u32,
            slot,
        }
    }

    /// Gives the place on to another owner.
    pub(crate) fn hand_on(&mut self) -> Self {
        Self {
            listener: self.listener.clone(),
            record: self.record.clone(),
            shard: self.shard,
            slot: std::mem::replace(&mut self.slot, NO_SLOT),
        }
    }

    /// Counts the connection's end and tells of it, and leaves. On the thread of `worker` only.
    pub(crate) fn end(
        &mut self,
        worker: usize,
        cause: Cause,
        termination: Termination,
        attempts: Attempts,
        now: Instant,
    ) {
        let origin = self.record.origin();
        let total = now.saturating_duration_since(origin.accepted_at);
        self.listener.count_end(worker, cause, total);
        if let Some(ends) = &self.listener.ends {
            let (bytes_in, bytes_out) = self.record.bytes();
            let end = End {
                id: self.record.id(),
                listener: self.listener.clone(),
                client: origin.client,
                server: attempts.last_server(),
                bytes_in,
                bytes_out,
                wait: attempts.wait().unwrap_or(total),
                connect: attempts.connect(),
                total,
                retries: attempts.retries(),
                core: worker,
                cause,
                termination,
                at: now,
            };
            ends.tell(worker, end);
        }
        self.leave();
    }

    /// The connection is not shown any more.
    pub(crate) fn leave(&mut self) {
        let slot = std::mem::replace(&mut self.slot, NO_SLOT);
        if slot != NO_SLOT {
            let mut shard = lock(self.listener.live.0.of(self.shard as usize));
            shard.slots[slot as usize] = None;
            shard.free.push(slot);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection::origin::ClientAddress;
    use crate::upstream::balance::Balance;
    use crate::upstream::{Server, Upstream};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn the_first_ones_are_no_more_than_asked_for() {
        const WORKERS: usize = 2;
        let servers = vec![Server::named("a:1".to_owned(), 1)];
        let balance = Balance::round_robin(&[1]);
        let second = Duration::from_secs(1);
        let upstream = Upstream::new("u".to_owned(), servers, balance, second, WORKERS);
        let listener = Arc::new(Listener::new("l".to_owned(), upstream.into(), WORKERS));
        let origin = Origin {
            client: ClientAddress::Unix,
            accepted_at: Instant::now(),
        };
        let entries: Vec<_> = (0..3 * LOOK_MAX)
            .map(|place| Entry::new(listener.clone(), place % WORKERS, origin))
            .collect();
        let count = |max| {
            let mut count = 0;
            listener.live.first(max, |_| count += 1);
            count
        };
        assert_eq!(count(2 * LOOK_MAX + 2), 2 * LOOK_MAX + 2);
        assert_eq!(count(usize::MAX), entries.len());
        assert_eq!(count(0), 0);
    }
}
