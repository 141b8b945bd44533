//! How switches of the scheduler went.

use super::family::Families;
use crate::observed::Observed;

/// Adds the families.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    let counts = observed.switches.counts();
    let mut switches = families.counter(
        "corelane_runtime_switches_total",
        "Switches of the scheduler or its cores while connections ran, by result: \"success\", or \"failure\" where \
         the new one could not run and the old one went on.",
    );
    for (&(from, to, result), &count) in &counts.switches {
        switches.add_count(&[("from", from), ("to", to), ("result", result)], count);
    }
    families
        .gauge(
            "corelane_runtime_switch_seconds",
            "How long the last switch took, from the start of the new scheduler to the end of the old one. 0 before.",
        )
        .add_seconds(&[], counts.took);
    families
        .counter(
            "corelane_runtime_moved_connections_total",
            "Live connections that a switch moved to the new scheduler.",
        )
        .add_count(&[], counts.moved);
}
