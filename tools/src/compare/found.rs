//! What came of a comparison.

use super::figures::Outcome;
use super::verdict::Verdict;

/// What came of it.
pub(super) struct Found {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) verdict: Verdict,
    /// Messages a second of the open loop that gave the latencies; none: the workload is one itself.
    pub(super) offered: Option<f64>,
    /// Part of the machine's CPU time that others had meanwhile.
    pub(super) others: Option<f64>,
}
