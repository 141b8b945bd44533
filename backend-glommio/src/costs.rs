//! What the connections of a core cost, measured only while the core is too busy.

use std::time::{Duration, Instant};

use crate::ready::TaskKey;

/// By lane, by the task's place.
///
/// A clock is read twice for each run of a connection then, and not otherwise: most of the time nobody asks. So a cost is
/// that of one window, and no average over longer: what a connection did before is of no use for what is to be mended.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    lanes: Vec<Vec<Cost>>,
    /// When the window began; none while nothing is measured.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Time spent in this window.
    spent: Duration,
    /// It came from another core a moment ago, and stays until then.
    rests_until: Option<Instant>,
}

impl Costs {
    /// Starts measuring again, from `now` on.
    pub(crate) fn begin(&mut self, now: Instant) {
        for cost in self.lanes.iter_mut().flatten() {
            cost.spent = Duration::ZERO;
        }
        self.since = Some(now);
    }

    /// A task ran for so long.
    pub(crate) fn on_run(&mut self, key: TaskKey, spent: Duration) {
        self.of(key).spent += spent;
    }

    /// The task's place is free.
    pub(crate) fn on_gone(&mut self, key: TaskKey) {
        if let Some(cost) = self
            .lanes
            .get_mut(key.lane as usize)
            .and_then(|lane| lane.get_mut(key.index as usize))
        {
            *cost = Cost::default();
        }
    }

    /// The task came from another core, and is not to be moved again before `until`.
    pub(crate) fn rest(&mut self, key: TaskKey, until: Instant) {
        self.of(key).rests_until = Some(until);
    }

    /// Each task that ran since the beginning, and what part of the core's time it took. Those that rest are left out.
    pub(crate) fn window(&self, now: Instant) -> Vec<(TaskKey, f64)> {
        let Some(since) = self.since else {
            return Vec::new();
        };
        let wall = now.saturating_duration_since(since).as_secs_f64();
        let mut costs = Vec::new();
        for (lane, tasks) in self.lanes.iter().enumerate() {
            for (index, cost) in tasks.iter().enumerate() {
                let rests = cost.rests_until.is_some_and(|until| until > now);
                if !rests && !cost.spent.is_zero() {
                    let key = TaskKey {
                        lane: lane as u32,
                        index: index as u32,
                    };
                    costs.push((key, cost.spent.as_secs_f64() / wall.max(1e-9)));
                }
            }
        }
        costs
    }

    fn of(&mut self, key: TaskKey) -> &mut Cost {
        let (lane, index) = (key.lane as usize, key.index as usize);
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, Vec::new);
        }
        let lane = &mut self.lanes[lane];
        if lane.len() <= index {
            lane.resize(index + 1, Cost::default());
        }
        &mut lane[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: TaskKey = TaskKey { lane: 1, index: 3 };
    const NEW: TaskKey = TaskKey { lane: 0, index: 0 };

    #[test]
    fn it_says_what_part_of_the_time_each_took() {
        let start = crate::driver::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut costs = Costs::default();
        assert!(costs.window(at(0)).is_empty());
        costs.begin(at(0));
        costs.on_run(BUSY, Duration::from_millis(50));
        costs.on_run(NEW, Duration::from_millis(25));
        costs.rest(NEW, at(150));
        assert_eq!(costs.window(at(100)), [(BUSY, 0.5)]);
        assert_eq!(costs.window(at(200)), [(NEW, 0.125), (BUSY, 0.25)]);
        costs.on_gone(BUSY);
        costs.begin(at(300));
        assert!(costs.window(at(400)).is_empty());
    }
}
