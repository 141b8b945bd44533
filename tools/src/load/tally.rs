//! What clients count: one writer a tally, and anyone may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of latencies for each doubling, so that a percentile is off by 3 % at most.
const BUCKETS_A_DOUBLING: u32 = 32;

/// Doublings that are told apart: up to 2^40 ns, 18 minutes. What is longer counts as that.
const DOUBLINGS_MAX: u32 = 40;

const BUCKETS: usize = (DOUBLINGS_MAX * BUCKETS_A_DOUBLING) as usize;

/// Counts of the clients of one thread.
pub(super) struct Tally {
    requests: AtomicU64,
    heavy_messages: AtomicU64,
    lost: AtomicU64,
    latencies: Box<[AtomicU64]>,
}

/// Counts of one moment, or between two.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) heavy_messages: u64,
    pub(super) lost: u64,
    latencies: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            heavy_messages: AtomicU64::default(),
            lost: AtomicU64::default(),
            latencies: (0..BUCKETS).map(|_| AtomicU64::default()).collect(),
        }
    }
}

impl Tally {
    pub(super) fn on_answer(&self, latency: Duration) {
        self.requests.fetch_add(1, Relaxed);
        self.latencies[bucket(latency)].fetch_add(1, Relaxed);
    }

    pub(super) fn on_heavy(&self) {
        self.heavy_messages.fetch_add(1, Relaxed);
    }

    pub(super) fn on_lost(&self, count: u64) {
        self.lost.fetch_add(count, Relaxed);
    }
}

impl Counts {
    pub(super) fn add(&mut self, tally: &Tally) {
        self.requests += tally.requests.load(Relaxed);
        self.heavy_messages += tally.heavy_messages.load(Relaxed);
        self.lost += tally.lost.load(Relaxed);
        self.latencies.resize(BUCKETS, 0);
        for (sum, count) in self.latencies.iter_mut().zip(&tally.latencies) {
            *sum += count.load(Relaxed);
        }
    }

    /// What was counted after `earlier`. A flow that was lost stays lost.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let pairs = self.latencies.iter().zip(&earlier.latencies);
        Self {
            requests: self.requests - earlier.requests,
            heavy_messages: self.heavy_messages - earlier.heavy_messages,
            lost: self.lost,
            latencies: pairs.map(|(now, then)| now - then).collect(),
        }
    }

    /// The latency that a `share` of the answers, 0 to 1, did not exceed. Zero without answers.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let total: u64 = self.latencies.iter().sum();
        let rank = (total as f64 * share) as u64;
        let mut seen = 0;
        for (index, count) in self.latencies.iter().enumerate() {
            seen += count;
            if seen > rank {
                return middle(index);
            }
        }
        Duration::ZERO
    }
}

/// Each doubling has as many buckets, of equal width.
fn bucket(latency: Duration) -> usize {
    let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1);
    let doubling = nanoseconds.ilog2();
    let above = u128::from(nanoseconds - (1 << doubling));
    let within = (above * u128::from(BUCKETS_A_DOUBLING)) >> doubling;
    let index = doubling as usize * BUCKETS_A_DOUBLING as usize + within as usize;
    index.min(BUCKETS - 1)
}

fn middle(bucket: usize) -> Duration {
    let doubling = bucket as u32 / BUCKETS_A_DOUBLING;
    let within = f64::from(bucket as u32 % BUCKETS_A_DOUBLING) + 0.5;
    let nanoseconds = (1_u64 << doubling) as f64 * (1.0 + within / f64::from(BUCKETS_A_DOUBLING));
    Duration::from_nanos(nanoseconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tally: &Tally) -> Counts {
        let mut counts = Counts::default();
        counts.add(tally);
        counts
    }

    #[test]
    fn percentiles_are_close() {
        let tally = Tally::default();
        (1..=1000).for_each(|us| tally.on_answer(Duration::from_micros(us)));
        let counts = counts(&tally);
        for (share, wanted) in [(0.0, 1.0), (0.5, 501.0), (0.99, 991.0), (0.999, 1000.0)] {
            let found = counts.percentile(share).as_secs_f64() * 1e6;
            assert!((found / wanted - 1.0).abs() < 0.03, "{share}: {found} µs");
        }
    }

    #[test]
    fn any_latency_has_a_bucket() {
        let tally = Tally::default();
        for latency in [Duration::ZERO, Duration::MAX] {
            tally.on_answer(latency);
        }
        let counts = counts(&tally);
        assert!(counts.percentile(0.0) < Duration::from_nanos(3));
        assert!(counts.percentile(0.9) > Duration::from_secs(1000));
    }

    #[test]
    fn what_came_before_is_left_out() {
        let tally = Tally::default();
        tally.on_answer(Duration::from_secs(1));
        tally.on_heavy();
        let before = counts(&tally);
        assert_eq!(before.since(&before).percentile(0.5), Duration::ZERO);
        tally.on_answer(Duration::from_millis(1));
        let after = counts(&tally).since(&before);
        assert_eq!((after.requests, after.heavy_messages), (1, 0));
        assert!(after.percentile(0.99) < Duration::from_millis(2));
    }
}
