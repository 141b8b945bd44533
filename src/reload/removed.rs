//! What happens to the connections of servers that a reload removes.

use std::collections::HashSet;

use proxy_config::{Config, OnRemoved};
use proxy_core::Table;

/// Has the connections of servers be cut that the new table lacks, where their upstream says so: as it is now, or as it was
/// if there is none any more. Those that are there again are left alone. Whether there are any to be cut.
pub(super) fn cut(old: &Config, old_table: &Table, new: &Config, new_table: &Table) -> bool {
    let mut members = HashSet::new();
    for server in new_table.pools.iter().flat_map(|pool| pool.servers()) {
        server.set_cut(false);
        members.insert(server.id);
    }
    let mut any = false;
    for (configured, pool) in old.upstreams.iter().zip(&old_table.pools) {
        let mut now = new.upstreams.iter();
        let now = now.find(|upstream| upstream.name == configured.name);
        if now.unwrap_or(configured).on_removed != OnRemoved::Reset {
            continue;
        }
        for server in pool.servers().filter(|one| !members.contains(&one.id)) {
            server.set_cut(true);
            any = true;
        }
    }
    any
}
