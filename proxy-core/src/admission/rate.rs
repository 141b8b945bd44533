//! How many may come in a time: a bucket that fills as time passes.
//!
//! A bucket is one word, the moment at which it is full again. Taking from it moves that moment on (this is known as the
//! generic cell rate algorithm, GCRA). So in any time no more is taken than the rate allows for it and one burst.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::epoch::Epoch;

const SECOND: u128 = 1_000_000_000;

/// How long what another process has taken can keep a bucket from being full.
const LACK_MAX: Duration = Duration::from_secs(3600);

/// How fast a bucket fills, and how much fits into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    /// Nanoseconds that an empty bucket takes to fill.
    capacity: u64,
}

impl Rate {
    /// So many connections a second, of which `burst` may come at once. Both are 1 at least.
    pub fn of_connections(per_second: u64, burst: u64) -> Self {
        let mut rate = Self {
            per_second: per_second.max(1),
            capacity: 0,
        };
        // A burst is as many connections, whatever is lost by rounding.
        rate.capacity = rate.cost(1).saturating_mul(burst.max(1));
        rate
    }

    /// So many bytes a second, of which `burst` may go at once. Both are 1 at least.
    pub fn of_bytes(per_second: u64, burst: u64) -> Self {
        let mut rate = Self {
            per_second: per_second.max(1),
            capacity: 0,
        };
        rate.capacity = rate.cost(burst.max(1));
        rate
    }

    /// Nanoseconds that an empty bucket takes to fill.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What it lets through in a second.
    pub fn per_second(&self) -> u64 {
        self.per_second
    }

    /// Nanoseconds in which so much flows in. They are rounded up, so that no more flows in than the rate says.
    pub(crate) fn cost(&self, count: u64) -> u64 {
        let nanoseconds = (u128::from(count) * SECOND).div_ceil(self.per_second.into());
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    /// Takes `count` at the moment `now` from a bucket that is full again at `full_at`. Returns when it is full again then.
    ///
    /// # Errors
    /// The moment from which on there is enough.
    pub(crate) fn take(&self, full_at: u64, now: u64, count: u64) -> Result<u64, u64> {
        let then = full_at.max(now).saturating_add(self.cost(count));
        let enough_at = then.saturating_sub(self.capacity);
        if enough_at <= now {
            Ok(then)
        } else {
            Err(enough_at)
        }
    }

    /// How much can be taken at the moment `now` from a bucket that is full again at `full_at`.
    pub(crate) fn available(&self, full_at: u64, now: u64) -> u64 {
        let filled = self.capacity.saturating_sub(full_at.saturating_sub(now));
        let count = u128::from(filled) * u128::from(self.per_second) / SECOND;
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

/// A bucket that workers share: touched once a connection, or once for many bytes.
#[derive(Debug)]
pub struct Meter {
    rate: Rate,
    epoch: Epoch,
    full_at: AtomicU64,
}

impl Meter {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            epoch: Epoch::default(),
            full_at: AtomicU64::new(0),
        }
    }

    /// How fast it fills.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes `count`, if there is enough.
    ///
    /// # Errors
    /// The moment from which on there is enough, if nobody else takes any.
    pub fn take(&self, now: Instant, count: u64) -> Result<(), Instant> {
        let at = self.epoch.note(now);
        let take = |full_at| self.rate.take(full_at, at, count).ok();
        match self.full_at.try_update(Relaxed, Relaxed, take) {
            Ok(_) => Ok(()),
            Err(full_at) => {
                let enough_at = self.rate.take(full_at, at, count).err().unwrap_or(at);
                Err(self.epoch.moment(enough_at).unwrap_or(now))
            }
        }
    }

    /// Whether there is as much now.
    ///
    /// # Errors
    /// The moment from which on there is, if nobody takes any.
    pub(crate) fn find(&self, now: Instant, count: u64) -> Result<(), Instant> {
        let at = self.epoch.note(now);
        let taken = self.rate.take(self.full_at.load(Relaxed), at, count);
        let moment = |enough_at| self.epoch.moment(enough_at).unwrap_or(now);
        taken.map(|_| ()).map_err(moment)
    }

    /// Takes `count` ahead of time. Returns when that is due: now, if there is enough.
    pub(crate) fn reserve(&self, now: Instant, count: u64) -> Instant {
        let at = self.epoch.note(now);
        let cost = self.rate.cost(count);
        let take = |full_at: u64| full_at.max(at).saturating_add(cost);
        let before = self.full_at.update(Relaxed, Relaxed, take);
        let due = take(before).saturating_sub(self.rate.capacity);
        self.epoch.moment(due.max(at)).unwrap_or(now)
    }

    /// When it is full again; none: it never was anything else.
    pub(crate) fn full_at(&self) -> Option<Instant> {
        self.epoch.moment(self.full_at.load(Relaxed))
    }

    /// It is full again at that moment, as another process has left it.
    pub(crate) fn go_on(&self, full_at: Instant, now: Instant) {
        let at = self.epoch.note(now.min(full_at));
        let lacking = full_at.saturating_duration_since(now.min(full_at));
        let lacking = lacking.min(LACK_MAX).as_nanos() as u64;
        self.full_at.fetch_max(at.saturating_add(lacking), Relaxed);
    }

    /// Puts back what was taken and isn't needed.
    pub(crate) fn put_back(&self, count: u64) {
        let cost = self.rate.cost(count);
        let put = |full_at: u64| full_at.saturating_sub(cost);
        self.full_at.update(Relaxed, Relaxed, put);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::epoch::origin;

    #[test]
    fn a_burst_comes_at_once_and_then_one_by_one() {
        let (meter, begin) = (Meter::new(Rate::of_connections(10, 3)), origin());
        for _ in 0..3 {
            meter.take(begin, 1).expect("it is full");
        }
        let enough_at = meter.take(begin, 1).expect_err("it is empty");
        assert_eq!(enough_at, begin + Duration::from_millis(100));
        meter.take(enough_at, 1).expect("one has come");
        meter.take(enough_at, 1).expect_err("and no more");
        let later = begin + Duration::from_secs(60);
        let taken = (0..9).filter(|_| meter.take(later, 1).is_ok());
        assert_eq!(taken.count(), 3, "no more than a burst is saved");
    }

    #[test]
    fn what_is_reserved_is_due_one_after_the_other() {
        let (meter, begin) = (Meter::new(Rate::of_bytes(1000, 100)), origin());
        let due = |count| meter.reserve(begin, count).duration_since(begin);
        assert_eq!(due(100), Duration::ZERO);
        assert_eq!(due(50), Duration::from_millis(50));
        assert_eq!(due(50), Duration::from_millis(100));
    }

    #[test]
    fn a_worker_whose_clock_is_behind_takes_no_more() {
        let (meter, begin) = (Meter::new(Rate::of_connections(1000, 2)), origin());
        let ahead = begin + Duration::from_millis(1);
        meter.take(begin, 1).expect("it is full");
        meter.take(ahead, 1).expect("one left, and one came");
        meter.take(ahead, 1).expect("that one");
        for _ in 0..100 {
            meter.take(begin, 1).expect_err("it is empty");
            meter.take(ahead, 1).expect_err("it is empty");
        }
    }

    proptest! {
        /// Against exact arithmetic: tokens in units of 1/10^9.
        #[test]
        fn it_takes_what_a_bucket_of_tokens_gives(
            per_second in 1_u64..2_000_000,
            burst in 1_u64..50,
            pauses in prop::collection::vec(0_u64..3_000_000, 1..300),
        ) {
            let (meter, begin) = (Meter::new(Rate::of_connections(per_second, burst)), origin());
            let full = u128::from(burst) * SECOND;
            let (mut tokens, mut now, mut taken) = (full, 0_u64, 0_u64);
            for pause in pauses {
                now += pause;
                tokens = full.min(tokens + u128::from(pause) * u128::from(per_second));
                let exact = tokens >= SECOND;
                let admitted = meter.take(begin + Duration::from_nanos(now), 1).is_ok();
                // What is rounded is never in favour of who comes.
                prop_assert!(exact || !admitted);
                if admitted {
                    tokens -= SECOND;
                    taken += 1;
                } else {
                    // A nanosecond for each that was taken.
                    let lost = u128::from(taken + 1) * u128::from(per_second);
                    prop_assert!(tokens < SECOND + lost, "{tokens}");
                }
            }
            let bound = u128::from(burst) * SECOND + u128::from(now) * u128::from(per_second);
            prop_assert!(u128::from(taken) * SECOND <= bound);
        }

        #[test]
        fn bytes_never_exceed_what_the_time_allows(
            per_second in 1_u64..10_000_000_000,
            burst in 1_u64..1_000_000,
            steps in prop::collection::vec((0_u64..50_000_000, 1_u64..300_000), 1..100),
        ) {
            let (meter, begin) = (Meter::new(Rate::of_bytes(per_second, burst)), origin());
            let (mut now, mut taken) = (0, 0);
            for (pause, count) in steps {
                now += pause;
                if meter.take(begin + Duration::from_nanos(now), count).is_ok() {
                    taken += u128::from(count);
                }
                let bound = u128::from(burst) + (u128::from(now) * u128::from(per_second)).div_ceil(SECOND);
                prop_assert!(taken <= bound + u128::from(per_second).div_ceil(SECOND));
            }
        }
    }
}
