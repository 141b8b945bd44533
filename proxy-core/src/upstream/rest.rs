//! When something that failed may be tried again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::epoch::Epoch;

/// How long a server without checks, or an address of a name, is passed over after a failed connect, as long as others can be
/// tried. Then one connection tries it, and the others wait for what comes of that, again for this long.
pub const REST: Duration = Duration::from_secs(3);

/// Until when something that failed is passed over. All workers share it: they read one word where it works, and write
/// only when a connect failed or worked again.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// The first failure.
    epoch: Epoch,
    /// Nanoseconds from there; zero where the last connect worked.
    until: AtomicU64,
}

impl Rest {
    /// A connect failed.
    pub(crate) fn on_failure(&self, now: Instant) {
        self.until.store(self.epoch.note(now) + rest(), Relaxed);
    }

    /// A connect worked. Whether that changes anything.
    pub(crate) fn on_success(&self) -> bool {
        // A write only on change keeps the cache line shared.
        let changes = self.until.load(Relaxed) != 0;
        if changes {
            self.until.store(0, Relaxed);
        }
        changes
    }

    /// Something has changed: it may be tried now.
    pub(crate) fn end(&self) {
        if self.until.load(Relaxed) != 0 {
            self.until.store(1, Relaxed);
        }
    }

    /// It rests until then, as another process has found.
    pub(crate) fn begin(&self, until: Instant, now: Instant) {
        let begun = now.min(until);
        let at = self.epoch.note(begun);
        let after = until.saturating_duration_since(begun).min(REST);
        self.until
            .store((at + after.as_nanos() as u64).max(1), Relaxed);
    }

    /// Whether it is passed over.
    pub(crate) fn is_resting(&self, now: Instant) -> bool {
        let until = self.until.load(Relaxed);
        until != 0 && self.epoch.until(now) < until
    }

    /// Until when it is passed over, if it is.
    pub(crate) fn ends_at(&self, now: Instant) -> Option<Instant> {
        let until = self.until.load(Relaxed);
        let is_resting = until != 0 && self.epoch.until(now) < until;
        is_resting.then(|| self.epoch.moment(until)).flatten()
    }

    /// Takes the one try that there is after a rest. False when another connection has taken it.
    ///
    /// What is tried all the same, because nothing else is left, is not held back.
    pub(crate) fn claim(&self, now: Instant) -> bool {
        let until = self.until.load(Relaxed);
        if until == 0 || self.epoch.until(now) < until {
            return true;
        }
        let next = self.epoch.until(now) + rest();
        self.until
            .compare_exchange(until, next, Relaxed, Relaxed)
            .is_ok()
    }
}

fn rest() -> u64 {
    REST.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::origin;

    #[test]
    fn one_try_comes_after_each_rest() {
        let (rest, now) = (Rest::default(), origin());
        assert!(!rest.is_resting(now) && rest.claim(now) && rest.claim(now));
        rest.on_failure(now);
        let just_before = now + REST - Duration::from_nanos(1);
        assert!(rest.is_resting(now) && rest.is_resting(just_before));
        let over = now + REST;
        assert!(!rest.is_resting(over));
        assert!(rest.claim(over));
        assert!(
            rest.is_resting(over),
            "the others wait for what comes of it"
        );
        // Nobody says what came of it: another one tries.
        assert!(!rest.is_resting(over + REST));
        assert!(rest.claim(over + REST));
        rest.on_success();
        assert!(!rest.is_resting(over + REST));
    }

    #[test]
    fn only_one_of_two_that_see_its_end_tries() {
        let (rest, now) = (Rest::default(), origin());
        rest.on_failure(now);
        let over = now + REST;
        assert!(!rest.is_resting(over) && !rest.is_resting(over));
        assert!(rest.claim(over));
        // The second one's claim comes when the rest has begun again: it has to look again, and finds it resting.
        assert!(rest.is_resting(over));
    }

    #[test]
    fn a_clock_that_is_behind_does_no_harm() {
        let (rest, now) = (Rest::default(), origin() + REST);
        rest.on_failure(now);
        assert!(rest.is_resting(now - REST));
        rest.on_failure(now - REST);
        assert!(rest.is_resting(now) && !rest.is_resting(now + REST));
    }

    #[test]
    fn a_change_ends_the_rest() {
        let (rest, now) = (Rest::default(), origin());
        rest.end();
        assert!(!rest.is_resting(now));
        rest.on_failure(now);
        rest.end();
        assert!(!rest.is_resting(now + Duration::from_nanos(1)));
        assert!(rest.claim(now + Duration::from_nanos(1)));
        assert!(rest.is_resting(now + Duration::from_nanos(2)));
    }
}
