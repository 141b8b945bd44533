//! Which connections are to be run, and when.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A connection's number.
pub(super) type TaskId = usize;

/// The ready queue and the timers of the hand-made scheduler.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    ready: VecDeque<TaskId>,
    timers: BTreeMap<u64, (Instant, TaskId)>,
    next_timer: u64,
    /// Times that a timer was set.
    pub(super) arms: u64,
    /// The connection that runs now.
    pub(super) current: TaskId,
}

impl Tasks {
    pub(super) fn wake(&mut self, task: TaskId) {
        if !self.ready.contains(&task) {
            self.ready.push_back(task);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// The connection that has waited longest.
    pub(super) fn pop(&mut self) -> Option<TaskId> {
        let task = self.ready.pop_front()?;
        self.current = task;
        Some(task)
    }

    pub(super) fn add_timer(&mut self) -> u64 {
        self.next_timer += 1;
        self.next_timer
    }

    /// Sets a timer for the current connection, unless it runs it in time already.
    pub(super) fn arm(&mut self, timer: u64, now: Instant, deadline: Instant) {
        let serves = |&(armed, task): &(Instant, TaskId)| {
            task == self.current && now < armed && armed <= deadline
        };
        if !self.timers.get(&timer).is_some_and(serves) {
            self.timers.insert(timer, (deadline, self.current));
            self.arms += 1;
        }
    }

    pub(super) fn disarm(&mut self, timer: u64) {
        self.timers.remove(&timer);
    }

    /// When the next timer is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.values().map(|&(deadline, _)| deadline).min()
    }

    /// Wakes the tasks whose timer is due.
    pub(super) fn fire(&mut self, now: Instant) {
        let due: Vec<_> = self
            .timers
            .extract_if(.., |_, (deadline, _)| *deadline <= now)
            .collect();
        for (_, (_, task)) in due {
            self.wake(task);
        }
    }
}
