//! How long connects to a server take lately.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::epoch::Epoch;

/// How long it takes until a measured time counts for 1/e of what it was. As Finagle's peak EWMA has it: long beside a connect,
/// and soon enough for a server that was slow to be tried again.
pub(crate) const DECAY: Duration = Duration::from_secs(10);

/// A mean over time of a server's connect times, over all workers, that rises at once and falls slowly: a peak EWMA.
///
/// It also falls while nothing is measured, so a server that is avoided comes to be tried again. Two workers that note a time at
/// once may lose one of both. It is written where an upstream's `compare_by` asks for it, and nowhere else.
#[derive(Debug, Default)]
pub(crate) struct ConnectTime {
    epoch: Epoch,
    /// In nanoseconds; zero: none was measured.
    mean: AtomicU64,
    /// When the mean was that, in nanoseconds from the epoch.
    at: AtomicU64,
}

impl ConnectTime {
    /// A connect has worked after so long.
    pub(crate) fn note(&self, took: Duration, now: Instant) {
        let at = self.epoch.note(now);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let (mean, part) = self.decayed(at);
        let mean = match mean {
            Some(mean) if mean > took => (mean as f64 * part + took as f64 * (1.0 - part)) as u64,
            _ => took,
        };
        self.mean.store(mean.max(1), Relaxed);
        self.at.store(at, Relaxed);
    }

    /// What a connect takes, in nanoseconds; none: none has worked.
    pub(crate) fn get(&self, now: Instant) -> Option<u64> {
        let (mean, part) = self.decayed(self.epoch.until(now));
        Some((mean? as f64 * part) as u64)
    }

    /// What was noted last, in nanoseconds, and when.
    pub(crate) fn noted(&self) -> Option<(u64, Instant)> {
        let mean = Some(self.mean.load(Relaxed)).filter(|&mean| mean > 0);
        mean.zip(self.epoch.moment(self.at.load(Relaxed)))
    }

    /// What was noted last, and how much of it counts.
    fn decayed(&self, now: u64) -> (Option<u64>, f64) {
        let mean = Some(self.mean.load(Relaxed)).filter(|&mean| mean > 0);
        let since = now.saturating_sub(self.at.load(Relaxed));
        (mean, (-(since as f64) / DECAY.as_nanos() as f64).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::origin;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let (time, begun) = (ConnectTime::default(), origin());
        assert_eq!(time.get(begun), None);
        time.note(MS, begun);
        assert_eq!(time.get(begun), Some(1_000_000));
        time.note(9 * MS, begun);
        assert_eq!(time.get(begun), Some(9_000_000));
        // Others at the same moment say nothing against it.
        time.note(MS, begun);
        assert_eq!(time.get(begun), Some(9_000_000));
        // 9/e, and what was measured since counts for the rest.
        let later = begun + DECAY;
        let fallen = time.get(later).expect("measured");
        assert_eq!(fallen / 1000, 3310);
        time.note(MS, later);
        assert_eq!(time.get(later).expect("measured") / 1000, 3943);
    }

    #[test]
    fn a_clock_that_is_behind_and_times_without_end_harm_nothing() {
        let (time, begun) = (ConnectTime::default(), origin());
        time.note(Duration::MAX, begun + DECAY);
        time.note(Duration::ZERO, begun);
        assert!(time.get(begun + 100 * DECAY).is_some());
    }
}
