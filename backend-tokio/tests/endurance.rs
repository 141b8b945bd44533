//! Tens of thousands of short connections: a process of its own, as its memory is measured.

mod backends;

use backends::{PerCore, WorkStealing};
use conformance::{Real, resources};

#[test]
fn work_stealing() {
    conformance::run::<Real<WorkStealing>>(resources::many_short_connections::<WorkStealing>);
}

#[test]
fn per_core() {
    conformance::run::<Real<PerCore>>(resources::many_short_connections::<PerCore>);
}
