//! Servers that a source has named, or names no more, and weights that somebody has set, without the configuration.

use std::collections::BTreeSet;

use proxy_config::Config;
use proxy_core::{Id, Member, Pool, Table};

use super::{now, removed};
use crate::assemble;
use crate::proxy::Proxy;

/// Puts the servers in force that sources name now: what a reload does with a file in which they stand.
pub(crate) fn apply(config: &Config, proxy: &mut Proxy) {
    let complete = proxy.control.complete(config);
    let observed = proxy.observed.clone();
    let before = observed.tables.current();
    let table = assemble::table(&complete, &observed.inventory, &proxy.around);
    if servers(&before) == servers(&table) {
        return;
    }
    let table = observed.tables.publish(table);
    observed.inventory.settle(&table, now());
    proxy.control.commit(config, &table);
    let spares_some = proxy.downs.watch(config, &table);
    if removed::end(config, &before, config, &table, now()) || spares_some {
        proxy.workers.run_all();
    }
    note(&before, &table);
}

/// All that tables differ by where only the servers do.
fn servers(table: &Table) -> Vec<Vec<Told>> {
    table.pools.iter().map(|pool| servers_of(pool)).collect()
}

/// Tells the log what has changed of each upstream.
fn note(before: &Table, table: &Table) {
    /// Servers that are named in a line; of more, the number is told.
    const NAMED_MAX: usize = 10;
    for (old, new) in before.pools.iter().zip(&table.pools) {
        let labels = |table: &Table, name: &str| -> BTreeSet<String> {
            let pool = table.pools.iter().find(|pool| pool.upstream().name == name);
            let servers = pool.into_iter().flat_map(|pool| pool.servers());
            servers.map(|server| server.label.clone()).collect()
        };
        let name = &new.upstream().name;
        if servers_of(old) == servers_of(new) {
            continue;
        }
        let (was, is) = (labels(before, name), labels(table, name));
        let named = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
            let only: Vec<_> = one.difference(other).map(String::as_str).collect();
            let more = only.len().saturating_sub(NAMED_MAX);
            let mut words = only[..only.len() - more].join(", ");
            if more > 0 {
                words += &format!(" and {more} more");
            }
            words
        };
        tracing::info!(
            upstream = name,
            servers = is.len(),
            added = named(&is, &was),
            removed = named(&was, &is),
            "other servers are in force, or other weights"
        );
    }
}

/// Who a server is, its weight, whether it is a backup, and its limit.
type Told = (Id, u16, bool, Option<u64>);

fn servers_of(pool: &Pool) -> Vec<Told> {
    let told = |member: &Member| {
        // Whatever else a member has one day counts, too.
        let Member {
            server,
            weight,
            backup,
            max_connections,
        } = member;
        (server.id, *weight, *backup, *max_connections)
    };
    pool.members().iter().map(told).collect()
}
