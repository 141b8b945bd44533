//! Any sequence of files leads to what the last one says.

use proptest::prelude::*;
use proxy_core::{Inventory, Table, Tables};

use super::change::tests::{config, text};
use super::*;
use crate::assemble::Around;

/// All that is configured in a table, without identities.
fn written(table: &Table) -> Vec<String> {
    let listeners = table.listeners.iter().map(|settings| {
        let mut text = format!(
            "{} to {}",
            settings.listener.name,
            settings.pool.upstream().name
        );
        let pool = &settings.pool;
        let same = table
            .pools
            .iter()
            .any(|one| std::sync::Arc::ptr_eq(one, pool));
        assert!(same, "its pool is that of the table");
        text += &format!(
            " {} {:?} {:?} {:?} {} {:?}",
            settings.shares,
            settings.latency,
            settings.idle_timeout,
            settings.times,
            settings.splice,
            settings.max_connections
        );
        let limits = &settings.limits;
        text += &format!(
            " {:?} {:?} {:?} {:?} {:?}",
            limits.rate.as_ref().map(|meter| meter.rate()),
            limits.source_connections,
            limits.source_bits,
            limits.over,
            settings.bandwidth
        );
        text
    });
    let pools = table.pools.iter().map(|pool| {
        let members = pool.members().iter().map(|member| {
            let server = &member.server;
            format!("{}/{} {}", server.upstream, server.label, member.weight)
        });
        let members: Vec<_> = members.collect();
        format!(
            "{} {members:?} {:?} {:?} {:?}",
            pool.upstream().name,
            pool.settings(),
            pool.ejection(),
            pool.connect_options()
        )
    });
    listeners.chain(pools).collect()
}

/// The names that are shown as configured.
fn shown(inventory: &Inventory, table: &Table) -> Vec<String> {
    let view = inventory.view(table, now());
    let listeners = view.listeners.iter().filter(|view| view.settings.is_some());
    let listeners = listeners.map(|view| view.listener.name.clone());
    let servers = view.upstreams.iter().flat_map(|view| view.members());
    let servers = servers.map(|server| format!("{}/{}", server.upstream, server.label));
    listeners.chain(servers).collect()
}

proptest! {
    /// After any sequence of files, what is in force is what a start with the last one gives; and who stays is who it
    /// was.
    #[test]
    fn a_sequence_of_files_leads_to_what_a_start_with_the_last_one_gives(
        texts in prop::collection::vec(text(), 1..6),
    ) {
        let (inventory, around) = (Inventory::default(), Around::default());
        let tables = Tables::new(Table::default());
        let mut before = tables.current();
        for text in &texts {
            let config = config(text);
            let table = tables.publish(assemble::table(&config, &inventory, &around));
            table.apply_shares(false);
            inventory.settle(&table, now());
            for settings in &table.listeners {
                let name = &settings.listener.name;
                let mut old = before.listeners.iter();
                if let Some(old) = old.find(|old| old.listener.name == *name) {
                    prop_assert_eq!(old.listener.id, settings.listener.id);
                }
            }
            let fresh_inventory = Inventory::default();
            let fresh = assemble::table(&config, &fresh_inventory, &around);
            fresh.apply_shares(false);
            fresh_inventory.settle(&fresh, now());
            prop_assert_eq!(written(&table), written(&fresh));
            prop_assert_eq!(shown(&inventory, &table), shown(&fresh_inventory, &fresh));
            let turns = |table: &Table| -> Vec<usize> {
                let shares = table.listeners.iter().map(|one| &one.listener.share);
                shares.map(|share| share.turn_bytes()).collect()
            };
            prop_assert_eq!(turns(&table), turns(&fresh));
            before = table;
        }
    }
}
