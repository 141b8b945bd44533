//! Since when a server fails, and why, for people who look.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::metrics::ConnectFailure;
use crate::upstream::Upstream;

/// The run of failures that a server is in. Whoever connects to it writes, and only on a change.
#[derive(Debug, Default)]
pub struct Outage {
    /// The first failure that there ever was, from which `since` counts.
    origin: OnceLock<Instant>,
    /// Nanoseconds plus one; zero where the last connect worked.
    since: AtomicU64,
    /// The place of a reason in [`ConnectFailure::ALL`] plus one; zero before the first failure.
    reason: AtomicU8,
}

impl Outage {
    /// A connect failed that counts for the server's state.
    pub fn on_failure(&self, reason: ConnectFailure, now: Instant) {
        self.note(reason);
        if self.since.load(Relaxed) == 0 {
            let origin = *self.origin.get_or_init(|| now);
            let after = now.saturating_duration_since(origin).as_nanos() as u64;
            // Where two fail at the same time, the first one counts.
            let _ = self.since.compare_exchange(0, after + 1, Relaxed, Relaxed);
        }
    }

    /// A connect worked that counts for the server's state.
    pub fn on_success(&self) {
        if self.since.load(Relaxed) != 0 {
            self.since.store(0, Relaxed);
        }
    }

    /// A connect failed that doesn't count, as there are health checks.
    fn note(&self, reason: ConnectFailure) {
        let reason = reason as u8 + 1;
        if self.reason.load(Relaxed) != reason {
            self.reason.store(reason, Relaxed);
        }
    }

    /// When the first of the failures was that nothing has followed but failures; none: the last connect worked.
    pub fn since(&self) -> Option<Instant> {
        let after = self.since.load(Relaxed).checked_sub(1)?;
        Some(*self.origin.get()? + Duration::from_nanos(after))
    }

    /// Why the last connect failed that did; none: none ever did.
    pub fn reason(&self) -> Option<ConnectFailure> {
        let place = self.reason.load(Relaxed).checked_sub(1)?;
        ConnectFailure::ALL.get(usize::from(place)).copied()
    }
}

impl Upstream {
    /// A connect of traffic to a server failed at all of its addresses, or worked.
    pub(crate) fn note_attempt(
        &self,
        server: usize,
        failure: Option<ConnectFailure>,
        now: Instant,
    ) {
        let outage = &self.servers()[server].outage;
        match (failure, &self.checks) {
            (Some(reason), Some(_)) => outage.note(reason),
            (Some(reason), None) => outage.on_failure(reason, now),
            (None, Some(_)) => {}
            (None, None) => outage.on_success(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn it_lasts_from_the_first_failure_to_a_success_with_the_last_reason() {
        let (outage, now) = (Outage::default(), origin());
        let second = Duration::from_secs(1);
        outage.on_success();
        assert_eq!((outage.since(), outage.reason()), (None, None));
        outage.on_failure(ConnectFailure::Refused, now);
        outage.on_failure(ConnectFailure::Timeout, now + second);
        assert_eq!(outage.since(), Some(now));
        assert_eq!(outage.reason(), Some(ConnectFailure::Timeout));
        outage.on_success();
        assert_eq!(outage.since(), None);
        outage.on_failure(ConnectFailure::Reset, now + second * 5);
        assert_eq!(outage.since(), Some(now + second * 5));
        // A clock that is behind does no harm.
        outage.on_success();
        outage.on_failure(ConnectFailure::Reset, now - second);
        assert_eq!(outage.since(), Some(now));
    }

    #[test]
    fn every_reason_comes_back_as_it_was() {
        for reason in ConnectFailure::ALL {
            let outage = Outage::default();
            outage.note(reason);
            assert_eq!((outage.reason(), outage.since()), (Some(reason), None));
        }
    }
}
