//! Why it is not known where servers are.

use std::fmt;

/// Why a source did not say which servers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For counters.
    pub(crate) reason: Reason,
    /// For the log.
    detail: String,
}

/// The label `reason` of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There was no answer in time.
    Timeout,
    /// It can't be connected to, or be read.
    Unreachable,
    /// There is no such name, file or page.
    NotFound,
    /// It answers that it has failed.
    Refused,
    /// What it says is not understood.
    Format,
    /// It says that there are no servers.
    Empty,
    /// It says that there are more servers than an upstream may have.
    TooMany,
    /// It names an address that no server has.
    Address,
    /// It names the proxy itself, so that connections would come back.
    Loop,
}

impl Reason {
    /// Every reason.
    pub(crate) const ALL: [Self; 9] = [
        Self::Timeout,
        Self::Unreachable,
        Self::NotFound,
        Self::Refused,
        Self::Format,
        Self::Empty,
        Self::TooMany,
        Self::Address,
        Self::Loop,
    ];

    /// As metrics write it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Format => "format",
            Self::Empty => "empty",
            Self::TooMany => "too_many",
            Self::Address => "address",
            Self::Loop => "loop",
        }
    }
}

impl Failure {
    pub(crate) fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        /// Bytes of the detail that are kept: what a source says may be long.
        const DETAIL_BYTES_MAX: usize = 300;
        let mut detail = detail.to_string();
        let end = detail.floor_char_boundary(DETAIL_BYTES_MAX);
        detail.truncate(end);
        Self { reason, detail }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}
