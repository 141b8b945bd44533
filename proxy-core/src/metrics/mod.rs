//! What workers count, and where a scrape reads it.
//!
//! Every cell has one writer, the worker that it belongs to, and lies on that worker's own cache lines. So an
//! update is a plain load, add and store, with no contention and no locked instruction; a reader on another
//! thread sees each cell whole and never going backwards.

mod cell;
mod check;
mod core;
mod listener;
mod upstream;

pub use self::cell::{Counter, Histogram};
pub use self::check::{CheckCells, CheckResult};
pub use self::core::CoreCells;
pub use self::listener::{Cause, ListenerCells, Rejection};
pub use self::upstream::{ConnectFailure, ServerCells, UpstreamCells};

use crossbeam_utils::CachePadded;

/// One value a worker.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[CachePadded<T>]>);

impl<T> PerWorker<T> {
    /// One value made by `make` for each of `workers` workers.
    pub fn new(workers: usize, make: impl Fn() -> T) -> Self {
        Self((0..workers).map(|_| CachePadded::new(make())).collect())
    }

    /// The value of the worker with this index.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker]
    }

    /// All values, by the worker's index.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }

    /// The sum of what `read` takes from each worker.
    pub fn sum(&self, read: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(read).fold(0, u64::wrapping_add)
    }
}
