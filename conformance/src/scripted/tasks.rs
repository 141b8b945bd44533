//! Which connections are to be run, and when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
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
    woken: Arc<Woken>,
}

/// Connections that were woken by wakers of theirs, which may be used on any thread.
#[derive(Debug, Default)]
struct Woken(Mutex<Vec<TaskId>>);

#[derive(Debug)]
struct TaskWaker {
    task: TaskId,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let woken = &self.woken.0;
        let mut woken = woken.lock().unwrap_or_else(PoisonError::into_inner);
        woken.push(self.task);
    }
}

impl Tasks {
    pub(super) fn wake(&mut self, task: TaskId) {
        if !self.ready.contains(&task) {
            self.ready.push_back(task);
        }
    }

    /// Has the current connection run, from any thread.
    pub(super) fn waker(&self) -> Waker {
        let (task, woken) = (self.current, self.woken.clone());
        Arc::new(TaskWaker { task, woken }).into()
    }

    /// Has those run that were woken.
    fn take_woken(&mut self) {
        let woken = &self.woken.0;
        let woken = std::mem::take(&mut *woken.lock().unwrap_or_else(PoisonError::into_inner));
        woken.into_iter().for_each(|task| self.wake(task));
    }

    pub(super) fn is_idle(&mut self) -> bool {
        self.take_woken();
        self.ready.is_empty()
    }

    /// The connection that has waited longest.
    pub(super) fn pop(&mut self) -> Option<TaskId> {
        self.take_woken();
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
