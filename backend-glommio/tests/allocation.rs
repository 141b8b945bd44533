//! Forwarding without allocations: a process of its own, as all its allocations are counted.

mod backends;

use std::sync::LazyLock;

use backends::{Epoll, Glommio};
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
fn glommio() {
    conformance::run::<Real<Glommio>>(|| {
        resources::messages_allocate_nothing::<Glommio>(allocations);
    });
}

#[test]
fn glommio_epoll() {
    conformance::run::<Real<Epoll>>(|| {
        resources::messages_allocate_nothing::<Epoll>(allocations);
    });
}
