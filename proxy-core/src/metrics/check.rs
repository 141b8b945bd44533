//! What is counted of the health checks of one server.

use super::{ConnectFailure, Counter};

/// Counters of the health checks of one server. Their one writer is the thread that checks.
#[derive(Debug, Default)]
pub struct CheckCells {
    passed: Counter,
    failed: [Counter; ConnectFailure::ALL.len()],
}

/// What a health check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The server took the connection.
    Passed,
    /// It could not be connected to.
    Failed(ConnectFailure),
}

impl CheckCells {
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
        let failed = ConnectFailure::ALL.into_iter().map(Self::Failed);
        std::iter::once(Self::Passed).chain(failed)
    }

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(reason) => reason.label(),
        }
    }

    /// Whether the server took the connection.
    pub const fn passed(self) -> bool {
        matches!(self, Self::Passed)
    }
}
