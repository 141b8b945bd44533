//! How switches of the scheduler went.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::family::Families;

/// Values of the label `result`.
const RESULTS: [&str; 2] = ["success", "failure"];

/// What was counted of them. There are few schedulers, and so few pairs.
#[derive(Debug, Default)]
pub struct Switches(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By the names from and to, and whether it succeeded.
    switches: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    took: Duration,
    moved: u64,
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

    /// Adds the families.
    pub(crate) fn collect(&self, families: &mut Families) {
        let counts = self.lock();
        let mut switches = families.counter(
            "corelane_runtime_switches_total",
            "Switches of the scheduler or its cores while connections ran, by result: \"success\", or \"failure\" where \
             the new one could not run and the old one went on.",
        );
        for (&(from, to, result), &count) in &counts.switches {
            switches.add_count(&[("from", from), ("to", to), ("result", result)], count);
        }
        families
            .gauge(
                "corelane_runtime_switch_seconds",
                "How long the last switch took, from the start of the new scheduler to the end of the old one. 0 before.",
            )
            .add_seconds(&[], counts.took);
        families
            .counter(
                "corelane_runtime_moved_connections_total",
                "Live connections that a switch moved to the new scheduler.",
            )
            .add_count(&[], counts.moved);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
