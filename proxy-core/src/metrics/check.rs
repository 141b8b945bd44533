//! What is counted of the health checks of one server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{ConnectFailure, Counter};

/// Counters of the health checks of one server. Their one writer is the thread that checks.
#[derive(Debug, Default)]
pub struct CheckCells {
    passed: Counter,
    failed: [Counter; ConnectFailure::ALL.len()],
    /// Those of a process before have said something.
    said_before: AtomicBool,
    /// In seconds since 1970; zero: not known.
    certificate_expiry: AtomicU64,
    /// How long the last one took, in nanoseconds and one more; zero: there was none.
    took: AtomicU64,
}

/// What a health check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The server did what is expected.
    Passed,
    /// It could not be connected to, or did something else.
    Failed(ConnectFailure),
}

impl CheckCells {
    /// Whether any check has said something of the server: what this machine lacks does not.
    pub fn say_anything(&self) -> bool {
        let mut results = CheckResult::all();
        let says = results.any(|result| {
            result != CheckResult::Failed(ConnectFailure::Local) && self.of(result).get() > 0
        });
        says || self.said_before.load(Relaxed)
    }

    /// Those of a process before have said something.
    pub(crate) fn note_said(&self) {
        self.said_before.store(true, Relaxed);
    }

    /// When the certificate expires that the server showed last, in seconds since 1970; none: it has shown none.
    pub fn certificate_expiry(&self) -> Option<u64> {
        Some(self.certificate_expiry.load(Relaxed)).filter(|seconds| *seconds > 0)
    }

    /// Says when the server's certificate expires.
    pub fn set_certificate_expiry(&self, seconds: Option<u64>) {
        self.certificate_expiry.store(seconds.unwrap_or(0), Relaxed);
    }

    /// How long the last check took that said something of the server, whatever it came to; none: there was none.
    pub fn took(&self) -> Option<Duration> {
        let nanos = self.took.load(Relaxed).checked_sub(1)?;
        Some(Duration::from_nanos(nanos))
    }

    /// Says how long a check took.
    pub fn set_took(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX - 1);
        self.took.store(nanos.saturating_add(1), Relaxed);
    }

    /// The counter of a result.
    pub fn of(&self, result: CheckResult) -> &Counter {
        match result {
            CheckResult::Passed => &self.passed,
            CheckResult::Failed(reason) => &self.failed[reason as usize],
        }
    }
}

impl CheckResult {
    /// Every result.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_checks = |reason: &ConnectFailure| *reason != ConnectFailure::Closed;
        let failed = ConnectFailure::ALL.into_iter().filter(of_checks);
        let failed = failed.map(Self::Failed);
        std::iter::once(Self::Passed).chain(failed)
    }

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(reason) => reason.label(),
        }
    }

    /// Whether the server did what is expected.
    pub const fn passed(self) -> bool {
        matches!(self, Self::Passed)
    }
}
