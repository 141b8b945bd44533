//! Forwarding without allocations: a process of its own, as all its allocations are counted.

mod backends;

use backends::{PerCore, WorkStealing};
use conformance::{Real, resources};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn work_stealing() {
    conformance::run::<Real<WorkStealing>>(resources::messages_allocate_nothing::<WorkStealing>);
}

#[test]
fn per_core() {
    conformance::run::<Real<PerCore>>(resources::messages_allocate_nothing::<PerCore>);
}
