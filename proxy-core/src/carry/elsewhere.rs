//! Connections that another process still has, as limits of this one see them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admission::source::Source;
use crate::id::Id;
use crate::listener::permit::Permit;
use crate::listener::settings::ListenerSettings;
use crate::upstream::server::Server;
use crate::upstream::taken::Taken;

/// The places that connections of another process have at listeners, sources and servers: they count here until the connections come
/// or this is dropped. So no limit of this process is exceeded by what both have together.
///
/// What ends in the other process meanwhile counts until this is dropped. What that process still connects doesn't count here.
#[derive(Debug, Default)]
pub struct Elsewhere(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    at_servers: HashMap<Id, Vec<Taken>>,
    at_listeners: HashMap<(Id, Option<Source>), Vec<Permit>>,
}

impl Elsewhere {
    /// So many connections are at a server.
    pub(super) fn at_server(&self, server: &Arc<Server>, count: u64) {
        let mut places = self.lock();
        let taken = places.at_servers.entry(server.id).or_default();
        taken.extend((0..count).map(|_| Taken::beside(server)));
    }

    /// So many connections are a listener's, of this source.
    pub(super) fn at_listener(
        &self,
        settings: &Arc<ListenerSettings>,
        source: Option<Source>,
        count: u64,
    ) {
        let mut places = self.lock();
        let key = (settings.listener.id, source);
        let permits = places.at_listeners.entry(key).or_default();
        permits.extend((0..count).map(|_| Permit::carried(settings.clone(), source)));
    }

    /// A connection has come, and counts by itself; a client that waits for a place has no server.
    pub(crate) fn on_come(
        &self,
        server: Option<&Server>,
        settings: &ListenerSettings,
        source: Option<Source>,
    ) {
        let mut places = self.lock();
        let taken = server.and_then(|server| places.at_servers.get_mut(&server.id)?.pop());
        let key = (settings.listener.id, source);
        let permit = places.at_listeners.get_mut(&key).and_then(Vec::pop);
        // Whoever waits for a place may look here, too.
        drop(places);
        drop((taken, permit));
    }

    /// Connections that have not come.
    pub fn count(&self) -> u64 {
        let places = self.lock();
        let all = places.at_listeners.values();
        all.map(|permits| permits.len() as u64).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
