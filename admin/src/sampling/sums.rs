//! What the workers of an index have counted together.

use proxy_core::metrics::{CoreCells, Counter};
use proxy_core::{Forgotten, ListenerView, View};

use crate::observed::Observed;
use crate::observed::running::Running;

/// Those of the worker that runs.
pub(crate) fn connections_of(running: &Running, worker: usize) -> u64 {
    let generation = &running.generation;
    generation.cores.connections(generation.slot(worker))
}

/// Over all workers that had this index.
pub(crate) fn moved_in(observed: &Observed, worker: usize) -> u64 {
    observed.cores.sum_of_core(worker, CoreCells::taken)
}

/// Over all workers that had this index.
pub(crate) fn moved_out(observed: &Observed, worker: usize) -> u64 {
    let taken = |other: &CoreCells| {
        let counts = other.taken_from.of_core(worker);
        counts.map(Counter::get).sum()
    };
    observed.cores.sum(taken)
}

/// What all listeners counted on the workers that had this index, those included that are not shown any more.
pub(crate) fn over_listeners(view: &View, worker: usize) -> Forgotten {
    let mut sum = view.forgotten.get(worker).copied().unwrap_or_default();
    for ListenerView { listener, .. } in &view.listeners {
        sum.add(Forgotten::of(listener, worker));
    }
    sum
}
