//! The timers of one core, earliest first.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::ready::TaskKey;

/// Armed timers. A connection re-arms lazily, so each of them is in here once and is touched a few times in its
/// life; an ordered set is fast enough and tells exactly how long the core may sleep.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, TaskKey)>);

impl Timers {
    pub(crate) fn insert(&mut self, deadline: Instant, task: TaskKey) {
        self.0.insert((deadline, task));
    }

    pub(crate) fn remove(&mut self, deadline: Instant, task: TaskKey) {
        self.0.remove(&(deadline, task));
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|&(deadline, _)| deadline)
    }

    /// Takes a timer whose deadline has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<TaskKey> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, task)| task)
    }
}
