//! What is to be run: a first-in first-out queue a lane, each task in it at most once.

use std::collections::VecDeque;
use std::task::Waker;

/// Names a task of a core: a connection or an acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskKey {
    /// The lane's index.
    pub(crate) lane: u32,
    /// The task's place in the lane.
    pub(crate) index: u32,
}

impl TaskKey {
    /// No task. It is never queued.
    pub(crate) const NONE: Self = Self {
        lane: u32::MAX,
        index: u32::MAX,
    };
}

/// The ready tasks of all lanes of a core.
///
/// A lane is one task of Glommio's. The counts here are exact, which is what lets the driver sleep: it does when
/// no lane is scheduled.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    lanes: Vec<LaneQueue>,
    scheduled: usize,
}

#[derive(Debug, Default)]
struct LaneQueue {
    queue: VecDeque<u32>,
    /// By the task's place.
    queued: Vec<bool>,
    /// The lane is in Glommio's run queue, or will be as soon as it has a waker.
    scheduled: bool,
    waker: Option<Waker>,
}

impl Ready {
    /// Another lane. It counts as scheduled, as every new task of Glommio's is.
    pub(crate) fn add_lane(&mut self) -> u32 {
        self.lanes.push(LaneQueue {
            scheduled: true,
            ..LaneQueue::default()
        });
        self.scheduled += 1;
        (self.lanes.len() - 1) as u32
    }

    /// Queues a task, and wakes its lane.
    pub(crate) fn push(&mut self, key: TaskKey) {
        let Some(lane) = self.lanes.get_mut(key.lane as usize) else {
            return;
        };
        let place = key.index as usize;
        if place >= lane.queued.len() {
            lane.queued.resize(place + 1, false);
        }
        if !std::mem::replace(&mut lane.queued[place], true) {
            lane.queue.push_back(key.index);
        }
        self.schedule(key.lane);
    }

    /// Takes the task that has waited longest.
    pub(crate) fn pop(&mut self, lane: u32) -> Option<u32> {
        let lane = &mut self.lanes[lane as usize];
        let index = lane.queue.pop_front()?;
        lane.queued[index as usize] = false;
        Some(index)
    }

    /// How many tasks of a lane wait.
    pub(crate) fn len(&self, lane: u32) -> usize {
        self.lanes[lane as usize].queue.len()
    }

    /// Wakes a lane.
    pub(crate) fn schedule(&mut self, lane: u32) {
        let lane = &mut self.lanes[lane as usize];
        if !std::mem::replace(&mut lane.scheduled, true) {
            self.scheduled += 1;
            if let Some(waker) = &lane.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Wakes every lane.
    pub(crate) fn schedule_all(&mut self) {
        for lane in 0..self.lanes.len() {
            self.schedule(lane as u32);
        }
    }

    /// A lane runs, with this waker from now on.
    pub(crate) fn on_run(&mut self, lane: u32, waker: &Waker) {
        let lane = &mut self.lanes[lane as usize];
        if std::mem::replace(&mut lane.scheduled, false) {
            self.scheduled -= 1;
        }
        if !lane.waker.as_ref().is_some_and(|own| own.will_wake(waker)) {
            lane.waker = Some(waker.clone());
        }
    }

    /// Whether no lane has anything to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.scheduled == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_queued_once_and_a_lane_is_counted_once() {
        let mut ready = Ready::default();
        let lane = ready.add_lane();
        ready.on_run(lane, Waker::noop());
        assert!(ready.is_idle());
        for index in [3, 1, 3] {
            ready.push(TaskKey { lane, index });
        }
        assert!(!ready.is_idle());
        assert_eq!(ready.len(lane), 2);
        ready.on_run(lane, Waker::noop());
        assert!(ready.is_idle());
        assert_eq!(
            (ready.pop(lane), ready.pop(lane), ready.pop(lane)),
            (Some(3), Some(1), None)
        );
    }

    #[test]
    fn no_task_is_never_queued() {
        let mut ready = Ready::default();
        ready.push(TaskKey::NONE);
        assert!(ready.is_idle());
    }
}
