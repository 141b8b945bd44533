//! Forwarding without allocations: a process of its own, as all its allocations are counted.

mod backends;

use std::sync::LazyLock;

use backends::{PerCore, WorkStealing};
use conformance::{Real, resources};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// How many allocations there were in all threads.
fn allocations() -> u64 {
    // Counts from the first call on.
    static PROFILER: LazyLock<dhat::Profiler> =
        LazyLock::new(|| dhat::Profiler::builder().testing().build());
    LazyLock::force(&PROFILER);
    dhat::HeapStats::get().total_blocks
}

#[test]
fn work_stealing() {
    conformance::run::<Real<WorkStealing>>(|| {
        resources::messages_allocate_nothing::<WorkStealing>(allocations);
    });
}

#[test]
fn per_core() {
    conformance::run::<Real<PerCore>>(|| {
        resources::messages_allocate_nothing::<PerCore>(allocations);
    });
}
