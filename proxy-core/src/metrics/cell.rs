//! Cells with one writer and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A count that one thread adds to and others read.
///
/// It is atomic only so that a reader never sees half of it: relaxed loads and stores compile to plain moves.
/// Two writers would lose counts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Durations counted into buckets, with one writer.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration],
    /// One a bound, and a last one for what is longer than all of them.
    counts: Box<[Counter]>,
    sum_nanoseconds: Counter,
}

impl Histogram {
    /// An empty histogram with the given inclusive upper bounds, ascending.
    pub fn new(bounds: &'static [Duration]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| Counter::default()).collect(),
            sum_nanoseconds: Counter::default(),
        }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let bucket = self.bounds.partition_point(|&bound| bound < duration);
        self.counts[bucket].increment();
        self.sum_nanoseconds.add(duration.as_nanos() as u64);
    }

    /// The upper bounds.
    pub fn bounds(&self) -> &'static [Duration] {
        self.bounds
    }

    /// How many durations fell into each bucket (not cumulative); the last is beyond all bounds.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(Counter::get)
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanoseconds.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        const BOUNDS: &[Duration] = &[Duration::from_millis(1), Duration::from_millis(10)];
        let histogram = Histogram::new(BOUNDS);
        for micros in [1, 1000, 1001, 10_000, 10_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.counts().collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(histogram.sum(), Duration::from_micros(22_003));
    }
}
