//! Lists of clients that are read again, without the configuration.

use std::sync::Arc;

use proxy_config::Config;
use proxy_core::{ListenerSettings, Table};

use super::now;
use crate::aside;
use crate::lists::{Accesses, Lists};
use crate::proxy::Proxy;

/// What each listener makes of its lists, while this thread has something else to do.
pub(super) async fn accesses(lists: &Lists, config: &Config) -> Arc<Accesses> {
    let (its, of) = (lists.clone(), config.clone());
    let made = aside::run("corelane-lists", move || its.accesses(&of)).await;
    // Without a thread for it, it is done here.
    Arc::new(made.unwrap_or_else(|_| lists.accesses(config)))
}

/// Reads the lists of `config` again, and puts them in force for connections that begin from now on.
pub(crate) async fn read_again(config: &Config, proxy: &mut Proxy) {
    let lists = match proxy.lists.again(config).await {
        Ok(lists) => lists,
        // Each was read before, so this can't be.
        Err(reason) => return tracing::error!("the lists of clients are not read again: {reason}"),
    };
    let accesses = accesses(&lists, config).await;
    let tables = &proxy.observed.tables;
    let before = tables.current();
    let listeners = before.listeners.iter().map(|settings| {
        let access = accesses.get(&settings.listener.name).cloned();
        let access = access.unwrap_or_default();
        let settings = ListenerSettings {
            access: access.clients,
            peer_access: access.peers,
            ..(**settings).clone()
        };
        Arc::new(settings)
    });
    let table = Table::new(listeners.collect(), before.pools.clone());
    let table = tables.publish(table);
    proxy.observed.inventory.settle(&table, now());
    for list in lists.shown() {
        tracing::info!(list = list.file, entries = list.entries, "in force");
    }
    proxy.observed.client_lists.set(lists.shown());
    proxy.around.accesses = accesses;
    proxy.lists = lists;
}
