//! Tasks that are ready to run: two first-in first-out queues a lane, each task in one of them at most once.
//!
//! Tasks whose last run was a long one have a queue of their own, of which a pass takes one, so that those that have
//! little to do don't wait for all of them. FQ-CoDel tells sparse flows from bulk like that (RFC 8290, section 4.2); but
//! there a flow counts as new for a quantum after each rest, and here for as long as its runs are short.

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
    short: VecDeque<u32>,
    long: VecDeque<u32>,
    /// By the task's place.
    tasks: Vec<Task>,
    /// The lane is in Glommio's run queue, or will be as soon as it has a waker.
    scheduled: bool,
    waker: Option<Waker>,
    alive: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Task {
    queued: bool,
    /// Which queue it goes to.
    long: bool,
}

/// What is left of a pass over a lane's ready tasks.
#[derive(Debug)]
pub(crate) struct Pass {
    lane: u32,
    short: usize,
    long: usize,
}

impl Pass {
    /// Leaves the tasks whose runs are short for the next pass. One whose runs are long still has its turn: else it might
    /// never.
    pub(crate) fn cut(&mut self) {
        self.short = 0;
    }
}

impl Ready {
    /// The lane of this number begins; what was queued for another one of its number is forgotten. It counts as scheduled,
    /// as every new task of Glommio's is.
    pub(crate) fn add_lane(&mut self, lane: u32) {
        let place = lane as usize;
        if place >= self.lanes.len() {
            self.lanes.resize_with(place + 1, LaneQueue::default);
        }
        self.remove_lane(lane);
        let queue = &mut self.lanes[place];
        (queue.scheduled, queue.alive) = (true, true);
        self.scheduled += 1;
    }

    /// A lane has ended.
    pub(crate) fn remove_lane(&mut self, lane: u32) {
        let lane = std::mem::take(&mut self.lanes[lane as usize]);
        self.scheduled -= usize::from(lane.scheduled);
    }

    /// Queues a task, and wakes its lane.
    pub(crate) fn push(&mut self, key: TaskKey) {
        let lane = self.lanes.get_mut(key.lane as usize);
        let Some(lane) = lane.filter(|lane| lane.alive) else {
            return;
        };
        let place = key.index as usize;
        if place >= lane.tasks.len() {
            lane.tasks.resize(place + 1, Task::default());
        }
        let task = &mut lane.tasks[place];
        if !std::mem::replace(&mut task.queued, true) {
            let queue = if task.long {
                &mut lane.long
            } else {
                &mut lane.short
            };
            queue.push_back(key.index);
        }
        self.schedule(key.lane);
    }

    /// Says whether a task's runs are long. It counts from the next time that it is queued.
    pub(crate) fn set_long(&mut self, key: TaskKey, long: bool) {
        let lane = self.lanes.get_mut(key.lane as usize);
        if let Some(task) = lane.and_then(|lane| lane.tasks.get_mut(key.index as usize)) {
            task.long = long;
        }
    }

    /// What a lane is to run before the kernel is asked again for what is ready: all whose runs are short and that wait
    /// now, and one whose runs are long.
    pub(crate) fn pass(&self, lane: u32) -> Pass {
        Pass {
            lane,
            short: self.lanes[lane as usize].short.len(),
            long: 1,
        }
    }

    /// Takes the next task of a pass, and whether its runs are long.
    pub(crate) fn next(&mut self, pass: &mut Pass) -> Option<(u32, bool)> {
        let lane = &mut self.lanes[pass.lane as usize];
        let (left, queue, long) = if pass.short > 0 {
            (&mut pass.short, &mut lane.short, false)
        } else {
            (&mut pass.long, &mut lane.long, true)
        };
        *left = left.checked_sub(1)?;
        let index = queue.pop_front()?;
        lane.tasks[index as usize].queued = false;
        Some((index, long))
    }

    /// Whether any task of a lane waits.
    pub(crate) fn has_any(&self, lane: u32) -> bool {
        let lane = &self.lanes[lane as usize];
        !lane.short.is_empty() || !lane.long.is_empty()
    }

    /// Wakes a lane.
    pub(crate) fn schedule(&mut self, lane: u32) {
        let lane = &mut self.lanes[lane as usize];
        if lane.alive && !std::mem::replace(&mut lane.scheduled, true) {
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
        let lane = 0;
        ready.add_lane(lane);
        ready.on_run(lane, Waker::noop());
        assert!(ready.is_idle());
        for index in [3, 1, 3] {
            ready.push(TaskKey { lane, index });
        }
        assert!(!ready.is_idle());
        ready.on_run(lane, Waker::noop());
        assert!(ready.is_idle());
        assert_eq!(run(&mut ready, lane), [(3, false), (1, false)]);
        assert!(!ready.has_any(lane));
    }

    /// A pass, as far as it goes.
    fn run(ready: &mut Ready, lane: u32) -> Vec<(u32, bool)> {
        let mut pass = ready.pass(lane);
        std::iter::from_fn(|| ready.next(&mut pass)).collect()
    }

    #[test]
    fn a_pass_has_all_short_runs_and_one_long_one() {
        let mut ready = Ready::default();
        let lane = 0;
        ready.add_lane(lane);
        let keys = [0, 1, 2, 3].map(|index| TaskKey { lane, index });
        let push = |ready: &mut Ready| keys.into_iter().for_each(|key| ready.push(key));
        push(&mut ready);
        // They stay where they are queued, and go to the others after the next run.
        ready.set_long(keys[0], true);
        ready.set_long(keys[2], true);
        let all = [0, 1, 2, 3].map(|index| (index, false));
        assert_eq!(run(&mut ready, lane), all);
        push(&mut ready);
        assert_eq!(run(&mut ready, lane), [(1, false), (3, false), (0, true)]);
        ready.push(keys[1]);
        assert_eq!(run(&mut ready, lane), [(1, false), (2, true)]);
        assert!(!ready.has_any(lane));
        ready.set_long(keys[0], false);
        ready.push(keys[0]);
        assert_eq!(run(&mut ready, lane), [(0, false)]);
    }

    #[test]
    fn what_comes_during_a_pass_is_for_the_next_one() {
        let mut ready = Ready::default();
        let lane = 0;
        ready.add_lane(lane);
        let key = TaskKey { lane, index: 0 };
        ready.push(key);
        let mut pass = ready.pass(lane);
        assert_eq!(ready.next(&mut pass), Some((0, false)));
        ready.push(key);
        assert_eq!(ready.next(&mut pass), None);
        assert_eq!(run(&mut ready, lane), [(0, false)]);
    }

    #[test]
    fn a_pass_that_is_cut_still_has_its_long_run() {
        let mut ready = Ready::default();
        let lane = 0;
        ready.add_lane(lane);
        let keys = [0, 1, 2].map(|index| TaskKey { lane, index });
        keys.into_iter().for_each(|key| ready.push(key));
        run(&mut ready, lane);
        ready.set_long(keys[2], true);
        keys.into_iter().for_each(|key| ready.push(key));
        let mut pass = ready.pass(lane);
        assert_eq!(ready.next(&mut pass), Some((0, false)));
        pass.cut();
        assert_eq!(ready.next(&mut pass), Some((2, true)));
        assert_eq!(ready.next(&mut pass), None);
        assert_eq!(run(&mut ready, lane), [(1, false)]);
    }

    #[test]
    fn a_lane_that_ended_is_never_scheduled() {
        let mut ready = Ready::default();
        ready.add_lane(0);
        ready.add_lane(1);
        ready.remove_lane(1);
        ready.on_run(0, Waker::noop());
        ready.push(TaskKey { lane: 1, index: 4 });
        assert!(ready.is_idle());
        ready.schedule_all();
        ready.on_run(0, Waker::noop());
        assert!(ready.is_idle());
        // Its number is another one's.
        ready.add_lane(1);
        assert!(!ready.is_idle() && !ready.has_any(1));
    }

    #[test]
    fn no_task_is_never_queued() {
        let mut ready = Ready::default();
        ready.push(TaskKey::NONE);
        assert!(ready.is_idle());
    }
}
