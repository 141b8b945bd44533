//! A proxy that is dropped leaves no descriptor: a process of its own, as it counts them.

mod backends;

use backends::{PerCore, WorkStealing};
use conformance::{Real, resources};

#[test]
fn work_stealing() {
    conformance::run::<Real<WorkStealing>>(resources::cancellation::<WorkStealing>);
}

#[test]
fn per_core() {
    conformance::run::<Real<PerCore>>(resources::cancellation::<PerCore>);
}
