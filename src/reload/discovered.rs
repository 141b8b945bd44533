//! Servers that a source has named, or names no more, without the configuration.

use std::collections::BTreeSet;

use proxy_config::Config;
use proxy_core::Table;

use super::{now, removed};
use crate::assemble;
use crate::proxy::Proxy;

/// Puts the servers in force that sources name now: what a reload does with a file in which they stand.
pub(super) fn apply(config: &Config, proxy: &mut Proxy) {
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
    if removed::cut(config, &before, config, &table) {
        proxy.workers.run_all();
    }
    note(&before, &table);
}

/// The upstream, the label and the weight of each.
fn servers(table: &Table) -> Vec<(&str, &str, u16)> {
    let members = table.pools.iter().flat_map(|pool| pool.members());
    members
        .map(|member| {
            let server = &member.server;
            (&server.upstream[..], &server.label[..], member.weight)
        })
        .collect()
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
            "the source names other servers"
        );
    }
}

fn servers_of(pool: &proxy_core::Pool) -> Vec<(&str, u16)> {
    let members = pool.members().iter();
    members
        .map(|member| (&member.server.label[..], member.weight))
        .collect()
}
