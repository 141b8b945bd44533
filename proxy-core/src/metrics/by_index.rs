//! Values of a backend's own, which ends with it.

use crossbeam_utils::CachePadded;

/// One value a worker of one generation, on cache lines of its own.
#[derive(Debug)]
pub struct ByIndex<T>(Box<[CachePadded<T>]>);

impl<T> ByIndex<T> {
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
