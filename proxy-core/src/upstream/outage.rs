//! Since when a server fails, and why, for people who look.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rustix::io::Errno;

use crate::carry::{Error, Fields, Writer};
use crate::epoch::Epoch;
use crate::metrics::ConnectFailure;

/// Why a connect failed: the reason that is counted, and what the kernel said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason.
    pub reason: ConnectFailure,
    /// None where it is not the kernel that said so, as at a timeout.
    pub errno: Option<Errno>,
}

impl Fault {
    /// What an error of a connect stands for.
    pub fn of(error: &io::Error) -> Self {
        Self {
            reason: ConnectFailure::of(error),
            errno: Errno::from_io_error(error),
        }
    }

    /// The place of the reason in [`ConnectFailure::ALL`] plus one, and above it the errno, or zero.
    fn packed(self) -> u32 {
        let errno = self.errno.map_or(0, Errno::raw_os_error).unsigned_abs();
        errno << u8::BITS | (self.reason as u32 + 1)
    }

    fn unpacked(packed: u32) -> Option<Self> {
        let place = (packed & u32::from(u8::MAX)).checked_sub(1)?;
        let errno = (packed >> u8::BITS).cast_signed();
        Some(Self {
            reason: *ConnectFailure::ALL.get(place as usize)?,
            errno: (errno != 0).then(|| Errno::from_raw_os_error(errno)),
        })
    }
}

impl From<ConnectFailure> for Fault {
    fn from(reason: ConnectFailure) -> Self {
        Self {
            reason,
            errno: None,
        }
    }
}

/// The run of failures that a server is in. Whoever connects to it writes, and only on a change.
#[derive(Debug, Default)]
pub struct Outage {
    /// The first failure that there ever was.
    epoch: Epoch,
    /// Nanoseconds from there, plus one; zero where the last connect worked.
    since: AtomicU64,
    /// [`Fault::packed`]; zero before the first failure.
    fault: AtomicU32,
}

impl Outage {
    /// A connect failed that counts for the server's state.
    pub fn on_failure(&self, fault: Fault, now: Instant) {
        self.note(fault);
        if self.since.load(Relaxed) == 0 {
            let after = self.epoch.note(now);
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
    pub(crate) fn note(&self, fault: Fault) {
        let fault = fault.packed();
        if self.fault.load(Relaxed) != fault {
            self.fault.store(fault, Relaxed);
        }
    }

    /// When the first of the failures was that nothing has followed but failures; none: the last connect worked.
    pub fn since(&self) -> Option<Instant> {
        let after = self.since.load(Relaxed).checked_sub(1)?;
        self.epoch.moment(after)
    }

    /// Why the last connect failed that did; none: none ever did.
    pub fn fault(&self) -> Option<Fault> {
        Fault::unpacked(self.fault.load(Relaxed))
    }
}

mod tag {
    pub(super) const SINCE: u8 = 0;
    pub(super) const REASON: u8 = 1;
    pub(super) const ERRNO: u8 = 2;
}

/// Errors have numbers below that (`MAX_ERRNO` of the kernel).
const ERRNO_MAX: u64 = 4095;

impl Outage {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.maybe_moment(tag::SINCE, self.since());
        if let Some(Fault { reason, errno }) = self.fault() {
            out.text(tag::REASON, reason.label());
            let errno = errno.map_or(0, Errno::raw_os_error);
            out.number(tag::ERRNO, errno.unsigned_abs().into());
        }
    }

    pub(super) fn decode(&self, mut fields: Fields<'_>) -> Result<(), Error> {
        let since = fields.maybe_moment(tag::SINCE, "since when a server fails")?;
        let reason = fields.text(tag::REASON, "why a server fails")?;
        let errno = fields.number(tag::ERRNO, ERRNO_MAX, "an error")?;
        fields.finish()?;
        let mut reasons = ConnectFailure::ALL.into_iter();
        let reason = reasons.find(|known| known.label() == reason);
        let fault = Fault {
            reason: reason.unwrap_or(ConnectFailure::Other),
            errno: (errno != 0).then(|| Errno::from_raw_os_error(errno as i32)),
        };
        match since {
            Some(since) => self.on_failure(fault, since),
            None if reason.is_some() => self.note(fault),
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::epoch::origin;

    #[test]
    fn it_lasts_from_the_first_failure_to_a_success_with_the_last_reason() {
        let (outage, now) = (Outage::default(), origin());
        let second = Duration::from_secs(1);
        outage.on_success();
        assert_eq!((outage.since(), outage.fault()), (None, None));
        outage.on_failure(ConnectFailure::Refused.into(), now);
        outage.on_failure(ConnectFailure::Timeout.into(), now + second);
        assert_eq!(outage.since(), Some(now));
        assert_eq!(outage.fault(), Some(ConnectFailure::Timeout.into()));
        outage.on_success();
        assert_eq!(outage.since(), None);
        outage.on_failure(ConnectFailure::Reset.into(), now + second * 5);
        assert_eq!(outage.since(), Some(now + second * 5));
        // A clock that is behind does no harm.
        outage.on_success();
        outage.on_failure(ConnectFailure::Reset.into(), now - second);
        assert_eq!(outage.since(), Some(now));
    }

    #[test]
    fn every_reason_comes_back_as_it_was_with_the_errno() {
        for reason in ConnectFailure::ALL {
            for errno in [None, Some(Errno::ACCESS), Some(Errno::HWPOISON)] {
                let (outage, fault) = (Outage::default(), Fault { reason, errno });
                outage.note(fault);
                assert_eq!((outage.fault(), outage.since()), (Some(fault), None));
            }
        }
        let refused = Fault::of(&Errno::NOENT.into());
        assert_eq!(refused.reason, ConnectFailure::Refused);
        assert_eq!(refused.errno, Some(Errno::NOENT));
        let late = Fault::of(&io::ErrorKind::TimedOut.into());
        assert_eq!(late, ConnectFailure::Timeout.into());
    }
}
