//! One scrape: everything that is known, as text.

mod access_log;
mod advice;
mod client_lists;
mod cores;
mod discoveries;
mod earlier;
mod family;
mod listeners;
mod process;
mod runtime;
mod schedulers;
mod switches;
#[cfg(test)]
mod tests;
mod upgrades;
mod upstreams;

use std::sync::{Arc, Mutex, PoisonError};

use self::family::Families;
use self::process::Process;
use crate::observed::Observed;
use crate::sampling::sampler::Watch;
use crate::sampling::threads::Threads;

/// The text format's type, with the version that the encoder writes.
pub(super) const CONTENT_TYPE_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where a scrape looks.
pub(super) struct Exposition {
    observed: Arc<Observed>,
    watch: Arc<Watch>,
    threads: Mutex<Threads>,
    process: Process,
}

impl Exposition {
    /// Shows `observed`, and the load that `watch` keeps.
    pub(super) fn new(observed: Arc<Observed>, watch: Arc<Watch>) -> Self {
        Self {
            threads: Mutex::new(Threads::default()),
            observed,
            watch,
            process: Process::new(),
        }
    }

    /// The metrics of this moment in the text format.
    ///
    /// # Errors
    /// When the encoder refuses a family, which is a mistake in this module.
    pub(super) fn encode(&self) -> prometheus::Result<String> {
        self.families().encode()
    }

    /// What the next process is to add to its own counts, as bytes.
    pub(super) fn totals(&self) -> Vec<u8> {
        // Names and numbers are JSON.
        serde_json::to_vec(&self.families().totals()).unwrap_or_default()
    }

    fn families(&self) -> Families {
        let mut families = Families::default();
        let view = self.observed.view();
        runtime::collect(&mut families, &self.observed);
        client_lists::collect(&mut families, &self.observed);
        discoveries::collect(&mut families, &self.observed);
        switches::collect(&mut families, &self.observed);
        upgrades::collect(&mut families, &self.observed);
        self.process.collect(&mut families);
        {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            let times = threads.read(&self.observed.runs.threads());
            cores::collect(&mut families, &self.observed, &view, &times);
        }
        cores::collect_load(&mut families, &self.watch.load());
        advice::collect(&mut families, &self.watch.advice(), self.observed.stealing);
        listeners::collect(&mut families, &view.listeners, &*self.observed.surroundings);
        upstreams::collect(&mut families, &view.upstreams, crate::observed::now());
        access_log::collect(&mut families, &self.observed);
        schedulers::collect(&mut families, &self.observed);
        families.add(&self.observed.earlier.totals());
        families
    }
}
