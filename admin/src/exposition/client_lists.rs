//! Files that list clients.

use super::family::Families;
use crate::observed::Observed;

/// Adds the families.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    let lists = observed.client_lists.look();
    let mut entries = families.gauge(
        "corelane_client_list_entries",
        "Entries of a file that lists clients (allow, deny) that are in force.",
    );
    for list in &lists {
        entries.add_count(&[("file", &list.file)], list.entries as u64);
    }
    let mut success = families.gauge(
        "corelane_client_list_last_read_success",
        "1, or 0 when the file was not in order when it was read last: what was read before is in force.",
    );
    for list in &lists {
        success.add_count(&[("file", &list.file)], list.problem.is_none().into());
    }
}
