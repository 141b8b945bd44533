//! A core's side of rebalancing: when it samples the loads, what it measures meanwhile, and which connections it migrates.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::costs::Costs;
use crate::load::Loads;
use crate::ready::TaskKey;
use crate::rebalance::{Judge, Rebalance, Verdict, choose, rest_intervals};

/// Passes of a lane that an interval has at least.
const PASSES_MIN: u32 = 4;

/// Connections that are to leave a core, and for which core each.
pub(crate) type Migrations = Vec<(TaskKey, usize)>;

/// One core's balancer.
pub(crate) struct Balancer {
    settings: Rebalance,
    judge: RefCell<Judge>,
    loads: RefCell<Loads>,
    costs: RefCell<Costs>,
    next: Cell<Instant>,
    measuring: Cell<bool>,
}

impl Balancer {
    /// A balancer of the core `own`, which samples for the first time after an interval. A core counts how busy it was
    /// at the end of a pass of at most `pass`, so an interval is several of them at least.
    pub(crate) fn new(mut settings: Rebalance, own: usize, loads: Loads, pass: Duration) -> Self {
        settings.interval = settings.interval.max(pass * PASSES_MIN);
        Self {
            judge: RefCell::new(Judge::new(own, settings.threshold)),
            next: Cell::new(loads.sampled_at() + settings.interval),
            loads: RefCell::new(loads),
            costs: RefCell::default(),
            measuring: Cell::new(false),
            settings,
        }
    }

    /// Samples the loads, if it is time, and chooses what is to migrate. The core's own busy time must have been counted.
    pub(crate) fn poll_migrations(&self, now: Instant) -> Migrations {
        if !self.settings.enabled || now < self.next.get() {
            return Migrations::new();
        }
        self.next.set(now + self.settings.interval);
        let (mut judge, mut loads) = (self.judge.borrow_mut(), self.loads.borrow_mut());
        let mut costs = self.costs.borrow_mut();
        loads.sample(now);
        let verdict = judge.on_sample(loads.utilization());
        let measuring = verdict == Verdict::Measure;
        let mut chosen = Migrations::new();
        if let Verdict::Move(room) = verdict {
            chosen = choose(costs.window(now), room, self.settings.max_moves);
            judge.on_chosen(chosen.len());
        }
        if measuring {
            costs.begin(now);
        }
        self.measuring.set(measuring);
        chosen
    }

    /// Whether the runs of tasks are to be timed.
    pub(crate) fn is_measuring(&self) -> bool {
        self.measuring.get()
    }

    /// A task ran for so long.
    pub(crate) fn on_run(&self, key: TaskKey, spent: Duration) {
        self.costs.borrow_mut().on_run(key, spent);
    }

    /// A connection came from another core, and has moved so many times in its life.
    pub(crate) fn on_adopted(&self, key: TaskKey, moves: u32, now: Instant) {
        if self.settings.enabled {
            let until = now + self.settings.interval * rest_intervals(moves);
            self.costs.borrow_mut().rest(key, until);
        }
    }

    /// A connection is gone, and its place is free.
    pub(crate) fn on_gone(&self, key: TaskKey) {
        self.costs.borrow_mut().on_gone(key);
    }
}
