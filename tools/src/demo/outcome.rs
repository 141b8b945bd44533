//! What came of one scheduler.

use proxy_load::Report;
use proxy_state::Imbalance;

/// What came of one scheduler.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) report: Report,
    pub(super) imbalance: Imbalance,
}
