//! What happens to the connections of servers that a reload removes.

use std::collections::HashSet;
use std::time::Instant;

use proxy_config::Config;
use proxy_core::Table;

use crate::closings;

/// Ends the connections of servers that the new table lacks, where their upstream says so: as it is now, or as it was if there is
/// none any more. Those that are there again are left alone. Returns whether connections are to see a change.
pub(super) fn end(
    old: &Config,
    old_table: &Table,
    new: &Config,
    new_table: &Table,
    now: Instant,
) -> bool {
    let mut has_changed = false;
    let mut members = HashSet::new();
    for server in new_table.pools.iter().flat_map(|pool| pool.servers()) {
        has_changed |= server.on_removed.set(None);
        members.insert(server.id);
    }
    for (configured, pool) in old.upstreams.iter().zip(&old_table.pools) {
        let mut upstreams = new.upstreams.iter();
        let configured = upstreams
            .find(|upstream| upstream.name == configured.name)
            .unwrap_or(configured);
        let closing = closings::on_removed(configured, now);
        for server in pool.servers().filter(|one| !members.contains(&one.id)) {
            has_changed |= server.on_removed.set(closing);
        }
    }
    has_changed
}
