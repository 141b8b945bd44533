//! The scheduler that runs, and those that it can be switched to.

use proxy_core::View;
use serde::Serialize;

use crate::observed::Observed;
use crate::sampling::sums::{connections_of, over_listeners};

/// What runs.
#[derive(Serialize)]
pub(crate) struct Schedulers {
    /// One word for it.
    running: &'static str,
    scheduler: &'static str,
    mode: &'static str,
    /// All that there are.
    known: Vec<&'static str>,
    /// Whether the one before still has connections.
    switching: bool,
    /// Switches that have succeeded.
    switches: u64,
    moved_connections: u64,
    cores: Vec<Core>,
}

#[derive(Serialize)]
struct Core {
    core: usize,
    /// The CPU that it is pinned to.
    cpu: Option<usize>,
    connections: u64,
    accepts: u64,
}

impl Schedulers {
    pub(crate) fn of(observed: &Observed, view: &View) -> Self {
        let running = observed.running();
        let counts = observed.switches.counts();
        let succeeded = counts.switches.iter();
        let succeeded = succeeded.filter(|((_, _, result), _)| *result == "success");
        let mut known: Vec<_> = counts.switches.keys().map(|(from, ..)| *from).collect();
        known.dedup();
        let threads = running.threads.iter().enumerate();
        let cores = threads.map(|(core, thread)| Core {
            core,
            cpu: thread.cpu,
            connections: connections_of(&running, core),
            accepts: over_listeners(view, core).accepted,
        });
        Self {
            running: running.profile.name,
            scheduler: running.profile.scheduler,
            mode: running.profile.mode,
            known,
            switching: observed.is_switching(),
            switches: succeeded.map(|(_, count)| count).sum(),
            moved_connections: counts.moved,
            cores: cores.collect(),
        }
    }
}
