//! No descriptor left: a process of its own, as its limit is lowered.

mod backends;

use backends::{PerCore, WorkStealing};
use conformance::{Real, resources};

#[test]
fn work_stealing() {
    conformance::run::<Real<WorkStealing>>(resources::descriptor_exhaustion::<WorkStealing>);
}

#[test]
fn per_core() {
    conformance::run::<Real<PerCore>>(resources::descriptor_exhaustion::<PerCore>);
}
