//! The scheduler that runs, and the one before it for as long as that has connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use proxy_core::backend::{Adopter, Backend, Evacuation, Pace};
use proxy_core::lifeline::Deaths;
use proxy_core::{Closing, Generation};
use tokio::time::{sleep, timeout};

use crate::aside::Stopper;
use crate::pulses::Pulses;

/// How long a scheduler that has no connections may take to end.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long a reload waits for a scheduler that goes to have emptied its queues; then it waits for the end of the switch.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(1);

/// The same after one of its workers died: those that live are quick, and one that is gone ends nothing.
pub(crate) const STOP_PATIENCE_AFTER_DEATH: Duration = Duration::from_secs(1);

/// How often the connections that have not left are counted, at first and at last.
const COUNT_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// All workers.
pub(crate) struct Workers {
    pub(crate) running: Box<dyn Backend>,
    pub(crate) generation: Arc<Generation>,
    /// Where the connections of the one that runs go, in an upgrade.
    evacuation: Option<Arc<Evacuation>>,
    /// Those that it takes the place of, the first to be replaced first.
    leaving: Vec<Leaving>,
    /// By which connections of the process before come to the one that runs.
    arriving: Option<Arc<Evacuation>>,
    /// By which the connections of schedulers go that were ended before the rest.
    gone: Vec<Arc<Evacuation>>,
    /// Where deaths of its workers are reported.
    deaths: Deaths,
    /// How many runs of schedulers were begun.
    runs: AtomicU64,
    /// Whether they turn.
    pub(crate) pulses: Pulses,
}

/// A scheduler whose connections leave, or finish.
pub(crate) struct Leaving {
    backend: Box<dyn Backend>,
    generation: Arc<Generation>,
    run: u64,
    /// None: its connections finish.
    evacuation: Option<Arc<Evacuation>>,
    /// What ends it.
    stopper: Stopper,
}

/// A scheduler that is about to run.
pub(crate) struct Next {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) generation: Arc<Generation>,
    /// Where deaths of its workers are reported.
    pub(crate) deaths: Deaths,
    /// What ends it, or the one that it takes the place of.
    pub(crate) stopper: Stopper,
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
        let pulses = Pulses::default();
        pulses.add(deaths.run(), &*running);
        Self {
            running,
            generation,
            evacuation: None,
            leaving: Vec::new(),
            arriving: None,
            gone: Vec::new(),
            deaths,
            runs: AtomicU64::new(1),
            pulses,
        }
    }

    /// Where deaths of the workers of another run are to be reported.
    pub(crate) fn next_deaths(&self) -> Deaths {
        self.deaths.of_run(self.runs.fetch_add(1, Relaxed))
    }

    /// Which run of a scheduler accepts.
    pub(crate) fn run(&self) -> u64 {
        self.deaths.run()
    }

    /// How many there are, those of schedulers that leave included.
    pub(crate) fn count(&self) -> usize {
        let leaving = self.leaving.iter().map(|one| one.generation.workers());
        self.generation.workers() + leaving.sum::<usize>()
    }

    /// Another scheduler runs, which accepts already. The one before stops accepting, and its connections go to the new one
    /// if they are to `move`, within `patience`; else they finish. Those that do neither end as `closing` says. What was on its way
    /// to the one before goes to the new one.
    pub(crate) fn replace(
        &mut self,
        next: Next,
        moves: bool,
        patience: Duration,
        closing: Option<Closing>,
    ) {
        let Next {
            backend,
            generation,
            deaths,
            stopper,
        } = next;
        let to = backend.adopter();
        if let Some(arriving) = &self.arriving {
            arriving.redirect(to.clone());
        }
        self.pulses.add(deaths.run(), &*backend);
        let old = Next {
            backend: std::mem::replace(&mut self.running, backend),
            generation: std::mem::replace(&mut self.generation, generation),
            deaths: std::mem::replace(&mut self.deaths, deaths),
            stopper,
        };
        old.generation.succeed();
        if old.generation.closing.set(closing) && !moves {
            old.backend.run_all();
        }
        let leaving = match self.evacuation.take() {
            None => {
                for before in &self.leaving {
                    if let Some(evacuation) = &before.evacuation {
                        evacuation.redirect(to.clone());
                    }
                }
                Leaving::begin(old, moves.then_some(to), patience)
            }
            // They go already.
            evacuation => Leaving {
                backend: old.backend,
                generation: old.generation,
                run: old.deaths.run(),
                evacuation,
                stopper: old.stopper,
            },
        };
        self.leaving.push(leaving);
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
        self.evacuations()
            .map(|evacuation| evacuation.moved())
            .sum()
    }

    /// All by which connections go.
    fn evacuations(&self) -> impl Iterator<Item = &Arc<Evacuation>> {
        let leaving = self.leaving.iter().map(|leaving| &leaving.evacuation);
        let own = leaving.chain([&self.evacuation]).flatten();
        own.chain(&self.gone)
    }

    /// Whether a run of a scheduler is there.
    pub(crate) fn has(&self, run: u64) -> bool {
        self.live_runs().contains(&run)
    }

    /// Ends a scheduler that is replaced, by its run: its workers can only be stopped, and send their connections away then. None if
    /// it has ended already.
    pub(crate) async fn end_halted(&mut self, run: u64) -> Option<Left> {
        let place = self.leaving.iter().position(|leaving| leaving.run == run)?;
        self.pulses.remove(run);
        let leaving = self.leaving.remove(place);
        self.gone.extend(leaving.evacuation.clone());
        let left = leaving.end().await;
        self.resend_arriving();
        Some(left)
    }

    /// The runs of schedulers that have connections, or may have.
    pub(crate) fn live_runs(&self) -> Vec<u64> {
        let leaving = self.leaving.iter().map(|leaving| leaving.run);
        leaving.chain([self.run()]).collect()
    }

    /// Whether no scheduler is left that was replaced.
    pub(crate) fn is_alone(&self) -> bool {
        self.leaving.is_empty()
    }

    /// Whether the scheduler that was replaced may still have connections.
    pub(crate) fn is_left(&self) -> bool {
        let mut leaving = self.leaving.iter();
        // Asked before it is told: all that are left by then are found.
        if !leaving.clone().any(|one| one.backend.is_accepting()) {
            self.generation.end_inheriting();
        }
        leaving.any(Leaving::is_left)
    }

    /// Whether the scheduler that was replaced takes nobody any more, and only clients are left there that have no server yet: it has
    /// nothing to do with what changes for others. Waits a moment for that.
    pub(crate) async fn has_handed_over(&self) -> bool {
        if self.leaving.iter().any(|one| one.evacuation.is_none()) {
            return false;
        }
        let accepts_no_more = async {
            while self.leaving.iter().any(|one| one.backend.is_accepting()) {
                sleep(COUNT_INTERVALS.0).await;
            }
        };
        timeout(HAND_OVER_PATIENCE, accepts_no_more).await.is_ok()
    }

    /// The connections that it has.
    pub(crate) fn leaving_connections(&self) -> u64 {
        self.leaving.iter().map(Leaving::connections).sum()
    }

    /// Ends the schedulers that were replaced. What is left of them is reset.
    pub(crate) async fn leave(&mut self) -> Left {
        let mut all = Left::default();
        for leaving in std::mem::take(&mut self.leaving) {
            self.pulses.remove(leaving.run);
            let Left { moved, cut } = leaving.end().await;
            all.moved += moved;
            all.cut += cut;
        }
        self.gone.clear();
        self.resend_arriving();
        self.generation.end_inheriting();
        all
    }

    /// Connections of the process before come by these.
    pub(crate) fn set_arriving(&mut self, arriving: Arc<Evacuation>) {
        self.arriving = Some(arriving);
    }

    /// Those go to the scheduler that runs which were on their way to one that has ended.
    fn resend_arriving(&self) {
        self.arriving.iter().for_each(Evacuation::resend);
    }

    /// Whether anybody is accepted, or connected.
    pub(crate) fn has_connections(&self) -> bool {
        // Asked first: every accepted connection is counted by then.
        self.running.is_accepting()
            || self.connections() > 0
            || self.evacuations().any(|one| !one.is_still())
            || self.leaving.iter().any(Leaving::is_left)
    }

    /// Connections that there are.
    pub(crate) fn connections(&self) -> u64 {
        connections_of(&self.generation) + self.leaving_connections()
    }

    /// All stop accepting: what waits in the backlogs is still taken.
    pub(crate) fn drain(&self) {
        self.running.drain();
        for leaving in &self.leaving {
            leaving.backend.drain();
        }
    }

    /// All connections end so.
    pub(crate) fn close(&self, closing: Closing) {
        self.generation.closing.set(Some(closing));
        for leaving in &self.leaving {
            leaving.generation.closing.set(Some(closing));
        }
        self.run_all();
    }

    /// Every connection that has not moved sees what is to become of it.
    pub(crate) fn close_left(&self) {
        for leaving in &self.leaving {
            leaving.backend.run_all();
        }
    }

    /// Every connection runs once, soon.
    pub(crate) fn run_all(&self) {
        self.running.run_all();
        for leaving in &self.leaving {
            leaving.backend.run_all();
        }
    }

    /// Ends the connections that are left, and all workers; returns when they are gone, or after `patience`.
    pub(crate) fn stop(self, patience: Duration) {
        self.pulses.clear();
        let arriving = self.arriving;
        for leaving in self.leaving {
            leaving.backend.stop(patience);
            if let Some(evacuation) = leaving.evacuation {
                cut_strays(&evacuation, &leaving.generation);
            }
        }
        self.running.stop(patience);
        if let Some(arriving) = arriving {
            cut_strays(&arriving, &self.generation);
        }
    }
}

impl Leaving {
    /// It stops accepting, and its connections go to another scheduler, within `patience`, or finish.
    pub(crate) fn begin(old: Next, to: Option<Arc<dyn Adopter>>, patience: Duration) -> Self {
        old.backend.drain();
        let mut leaving = Self {
            backend: old.backend,
            generation: old.generation,
            run: old.deaths.run(),
            evacuation: None,
            stopper: old.stopper,
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

    /// Ends it. What is left, and can't be sent away at the last moment, is reset.
    pub(crate) async fn end(self) -> Left {
        let connections = self.connections();
        let sent = || self.evacuation.as_ref().map_or(0, |one| one.sent());
        let before = sent();
        self.stopper.stop(self.backend).await;
        let cut = connections.saturating_sub(sent() - before);
        let Some(evacuation) = self.evacuation else {
            return Left { moved: 0, cut };
        };
        evacuation.resend();
        Left {
            moved: evacuation.moved(),
            cut: cut + cut_strays(&evacuation, &self.generation),
        }
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

/// Cuts connections of a scheduler that has ended which found nobody to take them; how many there were.
fn cut_strays(evacuation: &Arc<Evacuation>, generation: &Generation) -> u64 {
    evacuation.abort_strays(generation.slot(0), generation.cells(0), now())
}

/// What time it is, for a switch.
#[expect(clippy::disallowed_methods, reason = "a switch, not a worker")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
