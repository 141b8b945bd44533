//! How switches of the scheduler went.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Values of the label `result`.
const RESULTS: [&str; 2] = ["success", "failure"];

/// What was counted of them. There are few schedulers, and so few pairs.
#[derive(Debug, Default)]
pub struct Switches(Mutex<Counts>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// By the names from and to, and whether it succeeded.
    pub(crate) switches: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// The last one that succeeded.
    pub(crate) took: Duration,
    /// Connections, by all of them.
    pub(crate) moved: u64,
}

impl Switches {
    /// There may be switches between all schedulers of these names: their series are there from the start.
    pub fn between(&self, names: &[&'static str]) {
        let mut counts = self.lock();
        for &from in names {
            for &to in names {
                for result in RESULTS {
                    counts.switches.entry((from, to, result)).or_default();
                }
            }
        }
    }

    /// A switch is over, or was not begun as the new scheduler can't run. It took so long, and moved so many connections.
    pub fn count(
        &self,
        (from, to): (&'static str, &'static str),
        succeeded: bool,
        took: Duration,
        moved: u64,
    ) {
        let result = RESULTS[usize::from(!succeeded)];
        let mut counts = self.lock();
        *counts.switches.entry((from, to, result)).or_default() += 1;
        counts.moved += moved;
        if succeeded {
            counts.took = took;
        }
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
