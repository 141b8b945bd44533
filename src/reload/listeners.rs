//! Listeners that come, go, or listen elsewhere.

use std::sync::Arc;

use proxy_core::Table;
use proxy_core::backend::{Backend, Listening};

use crate::proxy::Proxy;
use crate::sockets::{Rebinding, Rebound};
use crate::switch::Begun;

/// Goes over to other sockets. Workers empty those that they have of listeners that change, and get all that these have
/// now: so whoever waits at an address that stays is accepted.
pub(super) fn commit(
    proxy: &Proxy,
    rebinding: Rebinding,
    before: &Table,
    table: &Arc<Table>,
    begun: Option<&Begun>,
) {
    let Rebound { listening, removed } = proxy.sockets.rebind(rebinding);
    let running = &*proxy.workers.running;
    let next = begun.map(Begun::backend);
    for settings in &before.listeners {
        let listener = &settings.listener;
        if listening.contains_key(&listener.name) || table.settings_of(listener).is_none() {
            running.unlisten(listener);
            next.into_iter().for_each(|next| next.unlisten(listener));
        }
    }
    let all = listening.into_iter().filter_map(|(name, sockets)| {
        let mut settings = table.listeners.iter();
        let settings = settings.find(|one| one.listener.name == name)?.clone();
        Some(Listening { settings, sockets })
    });
    let to: &dyn Backend = next.unwrap_or(running);
    if let Err(error) = to.listen(all.collect()) {
        tracing::error!(%error, "sockets can't be watched: their listeners accept nobody; reload again, or restart");
    }
    proxy.sockets.set_served();
    // The workers have descriptors of their own until they have emptied them.
    drop(removed);
}

/// Has the scheduler that goes on accept from the sockets that joined for one that couldn't take over.
pub(super) fn serve_all(proxy: &Proxy) {
    let served = proxy.sockets.lend_unserved().and_then(|unserved| {
        let table = proxy.observed.tables.current();
        let listening = unserved.into_iter().filter_map(|(name, sockets)| {
            let mut settings = table.listeners.iter();
            let settings = settings.find(|one| one.listener.name == name)?.clone();
            Some(Listening { settings, sockets })
        });
        let listening: Vec<_> = listening.collect();
        if listening.is_empty() {
            return Ok(());
        }
        proxy.workers.running.listen(listening)
    });
    match served {
        Ok(()) => proxy.sockets.set_served(),
        Err(error) => tracing::error!(
            %error,
            "some sockets of listeners can't be watched, and clients wait at them; reload again, or restart"
        ),
    }
}
