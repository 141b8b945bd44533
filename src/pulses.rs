//! Whether the workers of all schedulers that run turn.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::backend::{Asked, Backend, Pulse};
use proxy_core::lifeline::Death;

/// The schedulers that run. All copies are of one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulses(Arc<Mutex<Vec<Runs>>>);

/// A scheduler that runs.
#[derive(Debug)]
struct Runs {
    run: u64,
    name: &'static str,
    pulse: Arc<dyn Pulse>,
    /// Workers that died, who never answer and are being replaced.
    dead: BTreeSet<usize>,
}

/// What the workers of each were asked.
pub(crate) struct AllAsked {
    asked: Vec<(u64, Box<dyn Asked>)>,
    pulses: Pulses,
}

/// A worker that doesn't turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    scheduler: &'static str,
    worker: usize,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core {} of {}", self.worker, self.scheduler)
    }
}

impl Pulses {
    /// A scheduler runs.
    pub(crate) fn add(&self, run: u64, backend: &dyn Backend) {
        self.lock().push(Runs {
            run,
            name: backend.profile().name,
            pulse: backend.pulse(),
            dead: BTreeSet::new(),
        });
    }

    /// It is about to end.
    pub(crate) fn remove(&self, run: u64) {
        self.lock().retain(|one| one.run != run);
    }

    /// All are about to end.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Nothing more comes of a worker that died, or of all of its scheduler's.
    pub(crate) fn bury(&self, death: &Death) {
        if death.halts_all {
            return self.remove(death.run);
        }
        for one in self.lock().iter_mut().filter(|one| one.run == death.run) {
            one.dead.insert(death.worker);
        }
    }

    /// Asks all workers whether they turn.
    pub(crate) fn ask(&self) -> AllAsked {
        let asked = self
            .lock()
            .iter()
            .map(|one| (one.run, one.pulse.ask()))
            .collect();
        AllAsked {
            asked,
            pulses: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Runs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AllAsked {
    /// Those that have not answered, of the schedulers that still run.
    pub(crate) fn stuck(&self) -> Vec<Stuck> {
        let runs = self.pulses.lock();
        let still = self.asked.iter().filter_map(|(run, asked)| {
            let one = runs.iter().find(|one| one.run == *run)?;
            Some((one, asked.silent()))
        });
        let stuck = still.flat_map(|(one, silent)| {
            let living = silent
                .into_iter()
                .filter(|worker| !one.dead.contains(worker));
            living.map(|worker| Stuck {
                scheduler: one.name,
                worker,
            })
        });
        stuck.collect()
    }
}
