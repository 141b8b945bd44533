//! The scheduler that runs, and the one before it for as long as that has connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::backend::{Adopter, Backend, Evacuation, Pace};
use proxy_core::lifeline::Deaths;
use proxy_core::{Closing, Generation};
use tokio::time::{sleep, timeout};

use crate::aside::Stopper;

/// How long a scheduler that has no connections may take to end.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long a reload waits for a scheduler that goes to have emptied its queues; then it waits for the end of the switch.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(1);

/// How often the connections that have not left are counted, at first and at last.
const COUNT_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// All workers.
pub(crate) struct Workers {
    pub(crate) running: Box<dyn Backend>,
    pub(crate) generation: Arc<Generation>,
    /// Where the connections of the one that runs go, in an upgrade.
    evacuation: Option<Arc<Evacuation>>,
    /// What it takes the place of.
    leaving: Option<Leaving>,
    /// Where deaths of workers are reported.
    pub(crate) deaths: Deaths,
}

/// A scheduler whose connections leave, or finish.
pub(crate) struct Leaving {
    backend: Box<dyn Backend>,
    generation: Arc<Generation>,
    /// None: its connections finish.
    evacuation: Option<Arc<Evacuation>>,
}

/// What came of a scheduler that left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Connections that the next one has.
    pub(crate) moved: u64,
    /// Connections that were cut.
    pub(crate) cut: u64,
}

impl Workers {
    pub(crate) fn new(
        running: Box<dyn Backend>,
        generation: Arc<Generation>,
        deaths: Deaths,
    ) -> Self {
        Self {
            running,
            generation,
            evacuation: None,
            leaving: None,
            deaths,
        }
    }

    /// Another scheduler runs, which accepts already. The one before stops accepting, and its connections go to the new one
    /// if they are to `move`, within `patience`; else they finish. Those that do neither end as `closing` says.
    pub(crate) fn replace(
        &mut self,
        backend: Box<dyn Backend>,
        generation: Arc<Generation>,
        moves: bool,
        patience: Duration,
        closing: Option<Closing>,
    ) {
        let to = moves.then(|| backend.adopter());
        let old = std::mem::replace(&mut self.running, backend);
        let old_generation = std::mem::replace(&mut self.generation, generation);
        old_generation.succeed();
        if old_generation.closing.set(closing) && !moves {
            old.run_all();
        }
        self.leaving = Some(match self.evacuation.take() {
            None => Leaving::begin(old, old_generation, to, patience),
            // They go already.
            evacuation => Leaving {
                backend: old,
                generation: old_generation,
                evacuation,
            },
        });
    }

    /// The one that runs stops accepting, and its connections go to another process, within `patience`. Those that don't end as
    /// `closing` says.
    pub(crate) fn evacuate(
        &mut self,
        to: Arc<dyn Adopter>,
        patience: Duration,
        closing: Option<Closing>,
    ) {
        self.running.drain();
        self.generation.closing.set(closing);
        let pace = Pace::new(
            now(),
            self.connections(),
            self.generation.workers(),
            patience,
        );
        let evacuation = Evacuation::new(to, pace);
        self.running.evacuate(evacuation.clone());
        self.evacuation = Some(evacuation);
    }

    /// Connections that have gone to another process.
    pub(crate) fn evacuated(&self) -> u64 {
        let leaving = self.leaving.iter().map(|leaving| &leaving.evacuation);
        let evacuations = leaving.chain([&self.evacuation]).flatten();
        evacuations.map(|evacuation| evacuation.moved()).sum()
    }

    /// Whether the scheduler that was replaced may still have connections.
    pub(crate) fn is_left(&self) -> bool {
        let leaving = self.leaving.as_ref();
        // Asked before it is told: all that are left by then are found.
        if leaving.is_some_and(|leaving| !leaving.backend.is_accepting()) {
            self.generation.end_inheriting();
        }
        leaving.is_some_and(Leaving::is_left)
    }

    /// Whether the scheduler that was replaced takes nobody any more, and only clients are left there that have no server yet: it has
    /// nothing to do with what changes for others. Waits a moment for that.
    pub(crate) async fn has_handed_over(&self) -> bool {
        let Some(leaving) = &self.leaving else {
            return true;
        };
        if leaving.evacuation.is_none() {
            return false;
        }
        let accepts_no_more = async {
            while leaving.backend.is_accepting() {
                sleep(COUNT_INTERVALS.0).await;
            }
        };
        timeout(HAND_OVER_PATIENCE, accepts_no_more).await.is_ok()
    }

    /// The connections that it has.
    pub(crate) fn leaving_connections(&self) -> u64 {
        self.leaving.as_ref().map_or(0, Leaving::connections)
    }

    /// Ends the scheduler that was replaced. What is left of it is reset.
    pub(crate) async fn leave(&mut self, stopper: Stopper) -> Left {
        let left = match self.leaving.take() {
            Some(leaving) => leaving.end(stopper).await,
            None => Left::default(),
        };
        self.generation.end_inheriting();
        left
    }

    /// Whether anybody is accepted, or connected.
    pub(crate) fn has_connections(&self) -> bool {
        // Asked first: every accepted connection is counted by then.
        self.running.is_accepting()
            || self.connections() > 0
            || self.evacuation.as_ref().is_some_and(|one| !one.is_still())
            || self.leaving.as_ref().is_some_and(Leaving::is_left)
    }

    /// Connections that there are.
    pub(crate) fn connections(&self) -> u64 {
        connections_of(&self.generation) + self.leaving_connections()
    }

    /// All stop accepting: what waits in the backlogs is still taken.
    pub(crate) fn drain(&self) {
        self.running.drain();
        if let Some(leaving) = &self.leaving {
            leaving.backend.drain();
        }
    }

    /// All connections end so.
    pub(crate) fn close(&self, closing: Closing) {
        self.generation.closing.set(Some(closing));
        if let Some(leaving) = &self.leaving {
            leaving.generation.closing.set(Some(closing));
        }
        self.run_all();
    }

    /// Every connection that has not moved sees what is to become of it.
    pub(crate) fn close_left(&self) {
        if let Some(leaving) = &self.leaving {
            leaving.backend.run_all();
        }
    }

    /// Every connection runs once, soon.
    pub(crate) fn run_all(&self) {
        self.running.run_all();
        if let Some(leaving) = &self.leaving {
            leaving.backend.run_all();
        }
    }

    /// Ends the connections that are left, and all workers; returns when they are gone, or after `patience`.
    pub(crate) fn stop(self, patience: Duration) {
        if let Some(leaving) = self.leaving {
            leaving.backend.stop(patience);
        }
        self.running.stop(patience);
    }
}

impl Leaving {
    /// It stops accepting, and its connections go to another scheduler, within `patience`, or finish.
    pub(crate) fn begin(
        backend: Box<dyn Backend>,
        generation: Arc<Generation>,
        to: Option<Arc<dyn Adopter>>,
        patience: Duration,
    ) -> Self {
        backend.drain();
        let mut leaving = Self {
            backend,
            generation,
            evacuation: None,
        };
        if let Some(to) = to {
            let workers = leaving.generation.workers();
            let pace = Pace::new(now(), leaving.connections(), workers, patience);
            let evacuation = Evacuation::new(to, pace);
            leaving.backend.evacuate(evacuation.clone());
            leaving.evacuation = Some(evacuation);
        }
        leaving
    }

    /// Waits until nothing is left, at most for `patience`.
    pub(crate) async fn wait(&self, patience: Duration) {
        let (mut interval, most) = COUNT_INTERVALS;
        let left = async {
            while self.is_left() {
                sleep(interval).await;
                interval = most.min(2 * interval);
            }
        };
        // The caller reports what is left then.
        let _ = timeout(patience, left).await;
    }

    /// Ends it. What is left is reset.
    pub(crate) async fn end(self, stopper: Stopper) -> Left {
        let cut = self.connections();
        let (backend, evacuation) = (self.backend, self.evacuation);
        stopper.stop(backend).await;
        let moved = evacuation.map_or(0, |evacuation| evacuation.moved());
        Left { moved, cut }
    }

    fn connections(&self) -> u64 {
        connections_of(&self.generation)
    }

    fn is_left(&self) -> bool {
        // Asked first: every accepted connection is counted by then.
        self.backend.is_accepting()
            || self.connections() > 0
            || self
                .evacuation
                .as_ref()
                .is_some_and(|evacuation| !evacuation.is_still())
    }
}

/// Connections that the workers of a generation have.
fn connections_of(generation: &Generation) -> u64 {
    let workers = 0..generation.workers();
    let slots = workers.map(|worker| generation.slot(worker));
    generation.cores.connections_of_all(slots)
}

/// What time it is, for a switch.
#[expect(clippy::disallowed_methods, reason = "a switch, not a worker")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
