//! How many lines the logs wrote, and how many they dropped.

use super::family::Families;
use crate::observed::Observed;

/// Adds the families: zeros where there is no access log.
///
/// The log on stderr is there always.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    let log = observed.surroundings.access_log();
    families
        .counter(
            "corelane_access_log_lines_total",
            "Lines of the access log that were written.",
        )
        .add_count(&[], log.written);
    families
        .counter(
            "corelane_access_log_dropped_total",
            "Lines that were dropped, for too many waited or they could not be written.",
        )
        .add_count(&[], log.dropped);
    families
        .counter(
            "corelane_log_lines_dropped_total",
            "Lines of the log on stderr that were dropped, for too many waited or they could not be written.",
        )
        .add_count(&[], observed.surroundings.log_dropped());
}
