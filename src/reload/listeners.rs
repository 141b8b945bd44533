//! Listeners that come, go, or listen elsewhere.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::backend::{Backend, Listening};
use proxy_core::{ListenerState, Table};
use tokio::time::{sleep, timeout};

use crate::proxy::Proxy;
use crate::sockets::{ADMIN, Rebinding, Rebound};
use crate::switch::Begun;

/// How long workers may take to empty sockets that the admin server gets from them; later it begins all the same.
const EMPTY_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether they have.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Goes over to other sockets. Workers empty those that they have of listeners that change, and get all that these have
/// now: so whoever waits at an address that stays is accepted. The same goes for the admin server.
pub(super) async fn commit(
    proxy: &mut Proxy,
    rebinding: Rebinding,
    before: &Table,
    table: &Arc<Table>,
    begun: Option<&Begun>,
) {
    let Rebound {
        mut listening,
        removed,
    } = proxy.sockets.rebind(rebinding);
    // Workers and the admin server have descriptors of their own until they have emptied them: they close them last, so that
    // nobody comes in between.
    drop(removed);
    let admin_sockets = listening.remove(ADMIN);
    if let (Some(admin), Some(_)) = (&proxy.admin, &admin_sockets) {
        // First: listeners may get its sockets.
        admin.release();
    }
    let running = &*proxy.workers.running;
    let next = begun.map(Begun::backend);
    for settings in &before.listeners {
        let listener = &settings.listener;
        let is_other =
            listening.contains_key(&listener.name) || table.settings_of(listener).is_none();
        if is_other || listener.state() != ListenerState::Open {
            running.unlisten(listener);
            next.into_iter().for_each(|next| next.unlisten(listener));
        }
    }
    if admin_sockets.is_some() {
        // It may get some of theirs, where a client is to find it and no listener.
        let changed = before.listeners.iter().map(|settings| &settings.listener);
        let changed = changed.filter(|listener| {
            listening.contains_key(&listener.name) || table.settings_of(listener).is_none()
        });
        let changed: Vec<_> = changed.collect();
        let emptied = async {
            while changed.iter().any(|listener| listener.is_accepting()) {
                sleep(LOOK_INTERVAL).await;
            }
        };
        let _ = timeout(EMPTY_PATIENCE, emptied).await;
    }
    let all = listening.into_iter().filter_map(|(name, sockets)| {
        let mut settings = table.listeners.iter();
        let settings = settings.find(|one| one.listener.name == name)?.clone();
        // Clients wait at those of one that is paused.
        let is_open = settings.listener.state() == ListenerState::Open;
        is_open.then_some(Listening { settings, sockets })
    });
    let to: &dyn Backend = next.unwrap_or(running);
    proxy.sockets.steer(to);
    if let Err(error) = to.listen(all.collect()) {
        tracing::error!(%error, "sockets can't be watched: their listeners accept nobody; reload again, or restart");
    }
    proxy.sockets.set_served();
    if let (Some(admin), Some(sockets)) = (&mut proxy.admin, admin_sockets) {
        match admin.serve(sockets.into_iter().flatten().collect()) {
            Ok(()) => tracing::info!("metrics {}/metrics", admin.url()),
            Err(error) => tracing::error!(%error, "the admin server serves nobody; reload again"),
        }
    }
}

/// Has the scheduler that goes on accept from the sockets that joined for one that couldn't take over.
pub(super) fn serve_all(proxy: &mut Proxy) {
    let served = proxy.sockets.lend_unserved().and_then(|mut unserved| {
        if let (Some(_), Some(admin)) = (unserved.remove(ADMIN), &mut proxy.admin) {
            let all = proxy.sockets.lend(ADMIN, 1)?;
            admin.serve(all.into_iter().flatten().collect())?;
        }
        let table = proxy.observed.tables.current();
        let listening = unserved.into_iter().filter_map(|(name, sockets)| {
            let mut settings = table.listeners.iter();
            let settings = settings.find(|one| one.listener.name == name)?.clone();
            let is_open = settings.listener.state() == ListenerState::Open;
            is_open.then_some(Listening { settings, sockets })
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
