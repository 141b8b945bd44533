//! Connections on their way from one scheduler to another.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::detached::Detached;
use crate::listener::Listener;
use crate::metrics::{CoreCells, Slot};
use crate::transport::Descriptor;

/// Connections that may be on their way at a time, about: those that wait on one scheduler go on there, and those on their
/// way are held up.
pub const MOVING_MAX: usize = 128;

/// Connections that a worker sends away in a millisecond, about, where there is time for it: a move takes 20 to 40 µs of CPU, and
/// a core that does nothing else keeps the messages of all connections waiting.
pub const LEAVING_PER_MS: u64 = 8;

/// How soon all must be able to leave: in this part of the time that they have.
const LEAVING_SHARE: u32 = 4;

/// How fast connections leave that wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    since: Instant,
    per_ms: u64,
}

/// Takes connections of other schedulers, on any thread.
pub trait Adopter: fmt::Debug + Send + Sync {
    /// Has one of the workers go on with a connection. It returns at once.
    fn adopt(&self, moving: Moving);

    /// Whether they are another process's: clients that wait for places go there, as the places are given back there.
    fn takes_waiting(&self) -> bool {
        false
    }
}

/// Where the connections of a scheduler go that is being emptied.
#[derive(Debug)]
pub struct Evacuation {
    to: Mutex<Arc<dyn Adopter>>,
    takes_waiting: bool,
    pace: Pace,
    sent: AtomicU64,
    moving: AtomicUsize,
    moved: AtomicU64,
    /// Those whose new worker was gone when they came.
    strays: Mutex<Vec<Detached<Descriptor>>>,
}

/// A connection that left one scheduler and has not arrived at the other one. Dropping it makes it a [stray](Evacuation::abort_strays).
#[derive(Debug)]
pub struct Moving {
    /// None once it has arrived.
    detached: Option<Detached<Descriptor>>,
    evacuation: Arc<Evacuation>,
}

impl Pace {
    /// For so many connections of so many workers, which all have to be gone after a time from now on.
    pub fn new(now: Instant, connections: u64, workers: usize, within: Duration) -> Self {
        let calm = LEAVING_PER_MS * workers as u64;
        let milliseconds = (within / LEAVING_SHARE).as_millis().max(1);
        let needed = connections.div_ceil(u64::try_from(milliseconds).unwrap_or(u64::MAX));
        Self {
            since: now,
            per_ms: calm.max(needed),
        }
    }

    /// How many may have left by then.
    fn until(self, now: Instant) -> u64 {
        let milliseconds = now.saturating_duration_since(self.since).as_millis() + 1;
        self.per_ms
            .saturating_mul(u64::try_from(milliseconds).unwrap_or(u64::MAX))
    }
}

impl Evacuation {
    /// To the workers of another scheduler.
    pub fn new(to: Arc<dyn Adopter>, pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            takes_waiting: to.takes_waiting(),
            to: Mutex::new(to),
            pace,
            sent: AtomicU64::new(0),
            moving: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            strays: Mutex::default(),
        })
    }

    /// Whether more may leave now that wait: fewer than [`MOVING_MAX`] are on their way, and it is not ahead of its pace. One that
    /// has something to do goes all the same.
    pub fn has_room(&self, now: Instant) -> bool {
        self.moving.load(Relaxed) < MOVING_MAX && self.sent.load(Relaxed) < self.pace.until(now)
    }

    /// Whether clients that wait for places go, too ([`Connection::leave`](crate::Connection::leave)).
    pub fn takes_waiting(&self) -> bool {
        self.takes_waiting
    }

    /// Sends those that are still to come to the workers of yet another scheduler, and those that found nobody.
    pub fn redirect(self: &Arc<Self>, to: Arc<dyn Adopter>) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.resend();
    }

    /// Sends those again that found nobody to take them.
    pub fn resend(self: &Arc<Self>) {
        let strays = std::mem::take(&mut *self.lock_strays());
        strays.into_iter().for_each(|stray| self.send(stray));
    }

    /// Sends a connection.
    pub fn send(self: &Arc<Self>, detached: Detached<Descriptor>) {
        self.sent.fetch_add(1, Relaxed);
        self.moving.fetch_add(1, Relaxed);
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let to = to.clone();
        to.adopt(Moving {
            detached: Some(detached),
            evacuation: self.clone(),
        });
    }

    /// Connections that were sent, be it twice.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Connections that have arrived.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// Cuts those that found nobody to take them, and counts them as the worker's that has the slot, whose cells are `cells`; returns
    /// how many there were. For when that worker has ended: each cell has one writer.
    pub fn abort_strays(&self, slot: Slot, cells: &CoreCells, now: Instant) -> u64 {
        let strays = std::mem::take(&mut *self.lock_strays());
        let count = strays.len() as u64;
        for stray in strays {
            stray.abort(slot, cells, now);
        }
        count
    }

    fn lock_strays(&self) -> MutexGuard<'_, Vec<Detached<Descriptor>>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether none is on its way.
    pub fn is_still(&self) -> bool {
        self.moving.load(Relaxed) == 0 && self.lock_strays().is_empty()
    }
}

impl Moving {
    /// The listener that it came to.
    pub fn listener(&self) -> &Arc<Listener> {
        let detached = self.detached.as_ref().expect("it has not arrived");
        detached.listener()
    }

    /// The connection, to be looked at.
    ///
    /// # Panics
    /// Never: it has not arrived.
    pub fn detached(&self) -> &Detached<Descriptor> {
        self.detached.as_ref().expect("it has not arrived")
    }

    /// It is at the worker that goes on with it.
    ///
    /// # Panics
    /// Never: it arrives once.
    pub fn arrive(mut self) -> Detached<Descriptor> {
        self.evacuation.moved.fetch_add(1, Relaxed);
        self.detached.take().expect("it arrives once")
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if let Some(stray) = self.detached.take() {
            self.evacuation.lock_strays().push(stray);
        }
        self.evacuation.moving.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::origin;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_few_connections_take_their_time() {
        let now = origin();
        let pace = Pace::new(now, 8000, 2, 30 * SECOND);
        assert_eq!(pace.until(now), 16);
        assert_eq!(pace.until(now + SECOND / 2), 501 * 16);
    }

    #[test]
    fn many_leave_in_a_part_of_the_time_that_they_have() {
        let now = origin();
        let pace = Pace::new(now, 1_000_000, 2, 4 * SECOND);
        assert!(pace.until(now + SECOND) >= 1_000_000);
        let pace = Pace::new(now, 1_000_000, 2, Duration::ZERO);
        assert!(pace.until(now) >= 1_000_000);
    }
}
