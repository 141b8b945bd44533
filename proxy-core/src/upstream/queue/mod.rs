//! Connections that wait for a place, where all servers of an upstream have as many connections as they may.
//!
//! The line is one for all workers: whoever comes later stands behind, and a place that is given back is handed to the first
//! one, by whichever thread gives it back. So nobody races for a place, a place wakes one connection, and a worker that is busy
//! holds up nobody but those that it was handed places for. It costs a lock a connection while some wait. While nobody does, it
//! is one load of a word for each connection that ends.

pub(crate) mod followers;
mod line;
mod place;
pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::upstream::pool::Pool;
use crate::upstream::queue::line::Line;

pub(crate) use self::line::{Answer, Grant, Polled, Wish};
pub(crate) use self::place::Place;

/// A change after which any number of connections may have places.
const ANY: u64 = 1 << 32;

/// Those who wait for servers of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// How many wait. It is written under the lock.
    waiting: AtomicUsize,
    /// The longest time that one was ever to wait at most, in nanoseconds.
    longest: AtomicU64,
    /// Places that were given back, and changes ([`ANY`] each), that nobody has looked at yet.
    unseen: AtomicU64,
    line: Mutex<Line>,
}

impl Queue {
    /// Connections that wait, over all workers.
    pub(crate) fn len(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Whether a connection that comes now has others before it.
    pub(crate) fn has_any(&self) -> bool {
        self.len() > 0
    }

    /// How long each may wait that waits now, at most.
    pub(crate) fn longest_wait(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Relaxed))
    }

    /// One waits that may wait for so long.
    fn note_timeout(&self, timeout: Duration) {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        self.longest.fetch_max(nanos, Relaxed);
    }

    /// Since when the first of those waits who wait; none: nobody does.
    pub(crate) fn since(&self) -> Option<Instant> {
        let has_any = self.has_any();
        has_any.then(|| self.with(|line, _| line.since())).flatten()
    }

    /// The last number in the order that was given out.
    pub(crate) fn last_number(&self) -> u64 {
        self.lock().last()
    }

    /// Who joins from now on is behind those of another process, which has given out this number last.
    pub(crate) fn follow_numbers(&self, last: u64) {
        self.lock().follow_numbers(last);
    }

    /// A place was given back: the first one has it. Not with a lock of the upstream held.
    ///
    /// In one order with what was given back before, and with who joins and tries once more then: one of the two sees the other.
    pub(crate) fn on_free(&self) {
        if self.has_any() {
            self.unseen.fetch_add(1, SeqCst);
            self.serve();
        }
    }

    /// Something else has changed that says who can serve, which is looked at when one of those who wait runs. Any lock may be
    /// held.
    pub(crate) fn on_change(&self) {
        if self.has_any() {
            self.unseen.fetch_add(ANY, SeqCst);
            let first = self.try_lock().and_then(|line| line.first());
            first.into_iter().for_each(Waker::wake);
        }
    }

    /// Those who wait are served by this pool from now on, unless theirs is newer.
    pub(crate) fn follow(&self, pool: &Arc<Pool>) {
        if self.has_any() {
            self.with(|line, woken| {
                line.follow(pool);
                woken.extend(line.serve(usize::MAX));
            });
        }
    }

    /// Hands out what there is. Who finds the line locked leaves that to who has it.
    fn serve(&self) {
        while self.unseen.load(SeqCst) > 0 {
            let Some(mut line) = self.try_lock() else {
                return;
            };
            let most = self.unseen.swap(0, SeqCst);
            let woken = line.serve(usize::try_from(most).unwrap_or(usize::MAX));
            self.publish(&line);
            drop(line);
            woken.into_iter().for_each(Waker::wake);
        }
    }

    /// Does something with the line, and wakes whoever is woken by it.
    fn with<T>(&self, change: impl FnOnce(&mut Line, &mut Vec<Waker>) -> T) -> T {
        let (mut line, mut woken) = (self.lock(), Vec::new());
        let result = change(&mut line, &mut woken);
        self.publish(&line);
        drop(line);
        woken.into_iter().for_each(Waker::wake);
        // What came meanwhile.
        self.serve();
        result
    }

    fn publish(&self, line: &Line) {
        self.waiting.store(line.len(), SeqCst);
    }

    /// None: who has it looks at what is unseen afterwards.
    fn try_lock(&self) -> Option<MutexGuard<'_, Line>> {
        match self.line.try_lock() {
            Ok(line) => Some(line),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
