//! One finding.

use std::time::{Duration, SystemTime};

use proxy_state::{Finding, Level};

use super::tense::Told;

/// What a finding is about. One is shown of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Balance,
    Cpu,
    Servers,
    Unanswered,
    Limit,
    ProcessLimit,
    SourceLimit,
    PeerHeaders,
    Rate,
    SourceRate,
    ServersFull,
    ServersDown,
    QueueTimeout,
    Descriptors,
    Header,
    Unheard,
    Reload,
    ClientLists,
    Drain,
}

impl Subject {
    /// Whether it is no measurement, which may come and go, but a fact.
    pub(super) fn ends_at_once(self) -> bool {
        matches!(self, Self::Reload | Self::ClientLists | Self::Drain)
    }
}

/// Something that was found.
pub(super) struct Found {
    pub(super) subject: Subject,
    pub(super) told: Told,
    /// When it was last true, since the start.
    pub(super) last: Duration,
}

/// As a [`Finding`] says since when it is.
pub(crate) fn unix_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64().round()
}

pub(super) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

pub(super) fn finding(level: Level, what: &str, why: &str, remedy: &str) -> Finding {
    Finding {
        level,
        what: what.to_owned(),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
        ..Finding::default()
    }
}
