//! Sources that say which servers there are.

use std::time::UNIX_EPOCH;

use super::family::Families;
use crate::observed::Observed;

/// Adds the families.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    let all = observed.discoveries.look();
    let mut success = families.gauge(
        "corelane_discovery_last_success_timestamp_seconds",
        "When the source of an upstream's servers last named them; 0: never.",
    );
    for (upstream, view) in &all {
        let since = view
            .last_success
            .map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default());
        success.add(
            &[("upstream", upstream)],
            since.unwrap_or_default().as_secs_f64(),
        );
    }
    let mut servers = families.gauge(
        "corelane_discovery_servers",
        "Servers that the source of an upstream named last.",
    );
    for (upstream, view) in &all {
        servers.add_count(&[("upstream", upstream)], view.servers as u64);
    }
    let mut failures = families.counter(
        "corelane_discovery_failures_total",
        "Times that the source of an upstream's servers did not name any that there can be, by reason: those of before stay.",
    );
    for (upstream, view) in &all {
        for (reason, count) in &view.failures {
            failures.add_count(&[("upstream", upstream), ("reason", reason)], *count);
        }
    }
}
