//! What became of a server's connections, as far as it may be ejected for it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::carry::{Error, Fields, Writer};
use crate::epoch::Epoch;
use crate::upstream::ejection::slow::CONNECTS_COMPARED_MIN;
use crate::upstream::ejection::{EjectionCause, EjectionSettings};

/// What became of a server's connections, over all workers.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    /// Connects that failed since one worked.
    connect_failures: AtomicU32,
    /// Connections that it ended early since it sent a byte.
    early_ends: AtomicU32,
    /// [`Sample::packed`]: connects that worked since the last comparison.
    connects: AtomicU64,
    /// Ejections that are not forgotten.
    times: AtomicU32,
    epoch: Epoch,
    /// When its last ejection is over or was ended, in nanoseconds from the epoch.
    ends_at: AtomicU64,
    /// [`EjectionCause`] of the last one.
    cause: AtomicU32,
    /// Ejections, by the cause.
    ejections: [AtomicU64; EjectionCause::ALL.len()],
    /// Ejections that the largest share did not allow, by the cause.
    spared: [AtomicU64; EjectionCause::ALL.len()],
}

impl Conduct {
    /// A connection went wrong. True where that makes `most` in a row, which then are counted again.
    pub(crate) fn on_failure(&self, cause: EjectionCause, most: NonZeroU32) -> bool {
        let Some(run) = self.run(cause) else {
            return false;
        };
        let next = |count: u32| {
            if count + 1 >= most.get() {
                0
            } else {
                count + 1
            }
        };
        let before = run.fetch_update(Relaxed, Relaxed, |count| Some(next(count)));
        before.is_ok_and(|before| next(before) == 0)
    }

    /// One went well.
    pub(crate) fn on_success(&self, cause: EjectionCause) {
        // A write only on change keeps the cache line shared.
        if let Some(run) = self.run(cause)
            && run.load(Relaxed) != 0
        {
            run.store(0, Relaxed);
        }
    }

    /// A connect worked, and took so long.
    pub(crate) fn on_connect_time(&self, took: Duration) {
        if Sample::of(self.connects.load(Relaxed)).count < Sample::COUNT_MAX {
            self.connects.fetch_add(Sample::packed(took), Relaxed);
        }
    }

    /// The mean time of connects since the last call, in microseconds; none: too few have worked.
    pub(crate) fn take_mean(&self) -> Option<u64> {
        if self.connects.load(Relaxed) == 0 {
            return None;
        }
        let Sample { count, sum } = Sample::of(self.connects.swap(0, Relaxed));
        (count >= CONNECTS_COMPARED_MIN).then(|| sum / count)
    }

    /// It is ejected, and for so long. Only under the lock of its upstream.
    pub(crate) fn on_ejected(
        &self,
        cause: EjectionCause,
        settings: &EjectionSettings,
        now: Instant,
    ) -> Duration {
        let after = self.epoch.note(now);
        let quiet = after.saturating_sub(self.ends_at.load(Relaxed));
        let interval = settings.interval.as_nanos().max(1) as u64;
        let forgotten = u32::try_from(quiet / interval).unwrap_or(u32::MAX);
        let times = self.times.load(Relaxed).saturating_sub(forgotten);
        let times = times.saturating_add(1);
        let length = settings.length(times);
        self.times.store(times, Relaxed);
        self.ends_at
            .store(after.saturating_add(length.as_nanos() as u64), Relaxed);
        self.cause.store(cause as u32, Relaxed);
        self.ejections[cause as usize].fetch_add(1, Relaxed);
        length
    }

    /// It would have been ejected, and others are.
    pub(crate) fn on_spared(&self, cause: EjectionCause) {
        self.spared[cause as usize].fetch_add(1, Relaxed);
    }

    /// How often it was ejected for this cause.
    pub(crate) fn ejections(&self, cause: EjectionCause) -> u64 {
        self.ejections[cause as usize].load(Relaxed)
    }

    /// How often the largest share did not allow that.
    pub(crate) fn spared(&self, cause: EjectionCause) -> u64 {
        self.spared[cause as usize].load(Relaxed)
    }

    /// Whether the time of its last ejection is over.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.epoch.until(now) >= self.ends_at.load(Relaxed)
    }

    /// Its ejection has ended, now or when its time was over. It begins again.
    pub(crate) fn on_ended(&self, now: Instant) {
        self.ends_at.fetch_min(self.epoch.until(now), Relaxed);
        for cause in EjectionCause::ALL {
            self.on_success(cause);
        }
        self.connects.store(0, Relaxed);
    }

    /// Why it was ejected the last time.
    pub(crate) fn cause(&self) -> EjectionCause {
        let place = self.cause.load(Relaxed) as usize;
        *EjectionCause::ALL
            .get(place)
            .unwrap_or(&EjectionCause::ConnectFailures)
    }

    /// When its ejection is over.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.epoch.moment(self.ends_at.load(Relaxed))
    }

    fn run(&self, cause: EjectionCause) -> Option<&AtomicU32> {
        match cause {
            EjectionCause::ConnectFailures => Some(&self.connect_failures),
            EjectionCause::EarlyEnds => Some(&self.early_ends),
            EjectionCause::SlowConnects => None,
        }
    }
}

mod tag {
    pub(super) const CONNECT_FAILURES: u8 = 0;
    pub(super) const EARLY_ENDS: u8 = 1;
    pub(super) const TIMES: u8 = 2;
    pub(super) const ENDS_AT: u8 = 3;
    pub(super) const CAUSE: u8 = 4;
}

impl Conduct {
    /// What was counted of ejections is told with the metrics.
    pub(in crate::upstream) fn encode(&self, out: &mut Writer<'_>) {
        let count = |count: &AtomicU32| u64::from(count.load(Relaxed));
        out.number(tag::CONNECT_FAILURES, count(&self.connect_failures));
        out.number(tag::EARLY_ENDS, count(&self.early_ends));
        let times = count(&self.times);
        out.number(tag::TIMES, times);
        if times > 0 {
            out.maybe_moment(tag::ENDS_AT, self.ends_at());
            out.text(tag::CAUSE, self.cause().label());
        }
    }

    pub(in crate::upstream) fn decode(
        &self,
        mut fields: Fields<'_>,
        now: Instant,
    ) -> Result<(), Error> {
        let what = "a run of failures";
        let mut count = |tag| {
            // Runs go on from there.
            let count = fields.number(tag, u64::from(u32::MAX / 2), what)?;
            Ok(count as u32)
        };
        let connect_failures = count(tag::CONNECT_FAILURES)?;
        let early_ends = count(tag::EARLY_ENDS)?;
        let times = count(tag::TIMES)?;
        let ends_at = fields.maybe_moment(tag::ENDS_AT, "the end of an ejection")?;
        let cause = fields.text(tag::CAUSE, "the cause of an ejection")?;
        fields.finish()?;
        self.connect_failures.store(connect_failures, Relaxed);
        self.early_ends.store(early_ends, Relaxed);
        self.times.store(times, Relaxed);
        if let Some(ends_at) = ends_at {
            // The epoch is never ahead.
            let at = self.epoch.note(now.min(ends_at));
            let left = ends_at.saturating_duration_since(now).as_nanos();
            self.ends_at.store(at.saturating_add(left as u64), Relaxed);
        }
        let mut causes = EjectionCause::ALL.into_iter();
        if let Some(cause) = causes.find(|known| known.label() == cause) {
            self.cause.store(cause as u32, Relaxed);
        }
        Ok(())
    }
}

/// Times of connects in one word, so that workers add to count and sum at once.
struct Sample {
    count: u64,
    /// Microseconds.
    sum: u64,
}

impl Sample {
    const SUM_BITS: u32 = 44;

    /// More connects in an interval say nothing more. Workers that add at the same time go a little beyond, and there is room.
    const COUNT_MAX: u64 = 1 << 17;

    /// As much as one connect counts: with as many as there may be, the sum has room.
    const MICROSECONDS_MAX: u64 = 60_000_000;

    fn packed(took: Duration) -> u64 {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        1 << Self::SUM_BITS | micros.min(Self::MICROSECONDS_MAX)
    }

    fn of(packed: u64) -> Self {
        Self {
            count: packed >> Self::SUM_BITS,
            sum: packed & ((1 << Self::SUM_BITS) - 1),
        }
    }
}
