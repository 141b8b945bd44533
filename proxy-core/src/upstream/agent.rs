//! What an agent beside a server has said of it: what is in force of that until it says something else.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::CheckCells;

/// The weight that is configured, in percent.
pub(crate) const CONFIGURED: u32 = 100;

/// What an agent says of its server. What it doesn't say stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentReport {
    /// The share of the configured weight, in percent.
    pub percent: Option<u16>,
    /// Connections at a time, instead of what is configured; zero: as many as come.
    pub max_connections: Option<u64>,
    /// Whether it works.
    pub is_up: Option<bool>,
    /// Whether it is to get new connections.
    pub admission: Option<Admission>,
    /// All of it in words, for people.
    pub line: String,
}

/// Whether a server is to get new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Ready,
    /// It isn't, and those that it has may finish.
    Drain,
    /// It is taken out of service.
    Maintenance,
}

/// What is in force for one server. Workers read it when they choose one; it is written on a change only.
#[derive(Debug)]
pub(crate) struct Agent {
    percent: AtomicU32,
    /// [`AS_CONFIGURED`], or the number.
    max_connections: AtomicU64,
    /// The last line that said something of its state.
    line: Mutex<Arc<str>>,
    /// What is counted of asking it.
    pub(crate) checks: CheckCells,
}

const AS_CONFIGURED: u64 = u64::MAX;

impl Default for Agent {
    fn default() -> Self {
        Self {
            percent: AtomicU32::new(CONFIGURED),
            max_connections: AtomicU64::new(AS_CONFIGURED),
            line: Mutex::new("".into()),
            checks: CheckCells::default(),
        }
    }
}

impl Agent {
    /// The share of the configured weight, in percent.
    pub(crate) fn percent(&self) -> u32 {
        self.percent.load(Relaxed)
    }

    /// Returns whether it was another one.
    pub(crate) fn set_percent(&self, percent: u32) -> bool {
        self.percent.swap(percent, Relaxed) != percent
    }

    /// Connections at a time where `configured` are configured.
    pub(crate) fn max_connections(&self, configured: Option<u64>) -> Option<u64> {
        match self.max_connections.load(Relaxed) {
            AS_CONFIGURED => configured,
            0 => None,
            max => Some(max),
        }
    }

    /// Connections at a time, zero: as many as come; none: as configured. Returns whether it was another one.
    pub(crate) fn set_max_connections(&self, max: Option<u64>) -> bool {
        let max = max.map_or(AS_CONFIGURED, |max| max.min(AS_CONFIGURED - 1));
        self.max_connections.swap(max, Relaxed) != max
    }

    /// Connections at a time as it has said, zero: as many as come; none: as configured.
    pub(crate) fn said_max_connections(&self) -> Option<u64> {
        let max = self.max_connections.load(Relaxed);
        (max != AS_CONFIGURED).then_some(max)
    }

    /// The last line that said something of its state; may be empty.
    pub(crate) fn line(&self) -> Arc<str> {
        self.lock().clone()
    }

    pub(crate) fn set_line(&self, line: &str) {
        let mut last = self.lock();
        if **last != *line {
            *last = line.into();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<str>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The highest share that servers of a pool have, as of some number of changes; in percent.
#[derive(Debug, Default)]
pub(crate) struct Highest(AtomicU64);

impl Highest {
    /// The highest one now, counted by `count` if there were other `changes`.
    pub(crate) fn get(&self, changes: u32, count: impl FnOnce() -> u32) -> u32 {
        // Both in one word. A share is never zero, so zero says that nobody counted.
        let known = self.0.load(Relaxed);
        if known != 0 && (known >> u32::BITS) as u32 == changes {
            return known as u32;
        }
        let highest = count().max(1);
        let counted = u64::from(changes) << u32::BITS | u64::from(highest);
        self.0.store(counted, Relaxed);
        highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_allows_stands_for_what_is_configured() {
        let agent = Agent::default();
        assert_eq!(agent.max_connections(Some(3)), Some(3));
        assert!(agent.set_max_connections(Some(7)) && !agent.set_max_connections(Some(7)));
        assert_eq!(agent.max_connections(Some(3)), Some(7));
        assert!(agent.set_max_connections(Some(0)));
        assert_eq!(agent.max_connections(Some(3)), None);
        assert!(agent.set_max_connections(Some(u64::MAX)));
        assert_eq!(agent.max_connections(None), Some(u64::MAX - 1));
        assert!(agent.set_max_connections(None));
        assert_eq!(agent.max_connections(Some(3)), Some(3));
    }

    #[test]
    fn the_highest_share_is_counted_once_a_change() {
        let highest = Highest::default();
        assert_eq!(highest.get(0, || 50), 50);
        assert_eq!(highest.get(0, || 70), 50);
        assert_eq!(highest.get(1, || 70), 70);
        assert_eq!(highest.get(2, || 0), 1);
    }
}
