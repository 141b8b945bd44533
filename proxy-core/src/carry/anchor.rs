//! Moments that mean the same in two processes.

use std::time::{Duration, Instant};

use crate::carry::COUNT_MAX;

/// One moment, as this process knows it and as the kernel does: others are counted from there.
///
/// Both must be read of CLOCK_MONOTONIC right after each other; what lies between them is by how much moments shift. One anchor does
/// for a process's life.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    now: Instant,
    /// Of CLOCK_MONOTONIC, in nanoseconds.
    kernel: i64,
}

impl Anchor {
    /// The moment `now`, at which CLOCK_MONOTONIC says `kernel`.
    pub fn new(now: Instant, kernel: Duration) -> Self {
        Self {
            now,
            kernel: i64::try_from(kernel.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    /// A moment in nanoseconds of the kernel's clock.
    pub(super) fn carried(&self, moment: Instant) -> i64 {
        let after = |from: Instant, to: Instant| {
            let nanos = to.saturating_duration_since(from).as_nanos();
            i64::try_from(nanos).unwrap_or(i64::MAX)
        };
        self.kernel
            .saturating_add(after(self.now, moment))
            .saturating_sub(after(moment, self.now))
    }

    /// The moment of so many nanoseconds; none where there can't be such a moment.
    pub(super) fn moment(&self, nanos: i64) -> Option<Instant> {
        if nanos.unsigned_abs() > COUNT_MAX {
            return None;
        }
        let after = nanos.checked_sub(self.kernel)?;
        let distance = Duration::from_nanos(after.unsigned_abs());
        if after < 0 {
            self.now.checked_sub(distance)
        } else {
            self.now.checked_add(distance)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::origin;

    #[test]
    fn a_moment_is_the_same_one_by_another_anchor() {
        let now = origin();
        let second = Duration::from_secs(1);
        let one = Anchor::new(now, 100 * second);
        let other = Anchor::new(now + 7 * second, 107 * second);
        for moment in [now, now + 3 * second, now - 3 * second, now + 99 * second] {
            assert_eq!(other.moment(one.carried(moment)), Some(moment));
        }
        assert_eq!(one.carried(now - 101 * second), -1_000_000_000);
        assert_eq!(one.moment(i64::MAX), None);
        assert_eq!(one.moment(i64::MIN), None);
    }
}
