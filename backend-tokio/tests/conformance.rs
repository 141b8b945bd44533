//! The conformance suite on both of Tokio's modes.

mod backends;

use backends::{PerCore, WorkStealing};
use conformance::Real;

conformance::suite!(work_stealing, Real<WorkStealing>);
conformance::real_suite!(work_stealing_sockets, Real<WorkStealing>);
conformance::suite!(per_core, Real<PerCore>);
conformance::real_suite!(per_core_sockets, Real<PerCore>);
