//! Where what another process sends finds its place in this one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::carry::anchor::Anchor;
use crate::carry::elsewhere::Elsewhere;
use crate::listener::settings::ListenerSettings;
use crate::listener::times::Times;
use crate::table::Table;
use crate::table::inventory::Inventory;
use crate::upstream::Upstream;
use crate::upstream::address::ServerAddress;
use crate::upstream::pool::{Member, Pool, PoolSettings};
use crate::upstream::server::Server;

/// Finds what names stand for, in this process. What its configuration lacks is known under the name that it had, as after a reload
/// that removes it: it is shown as long as it has connections and for a while after.
///
/// A connection gets the settings that its listener has here. Where the configuration lacks the listener, it goes on with the times
/// that it had, and its end is reported as those of other listeners are.
#[derive(Debug)]
pub struct Adoption<'a> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) table: &'a Table,
    pub(crate) anchor: Anchor,
    pub(crate) now: Instant,
    /// Places of connections that have not come.
    pub(crate) elsewhere: Option<&'a Elsewhere>,
    /// The last settings that were made for a listener that is not configured: its connections come one after the other.
    made: Mutex<Option<Arc<ListenerSettings>>>,
}

/// What a connection keeps of the settings that it began with, where its listener is not configured any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) times: Times,
    pub(crate) splice: bool,
}

impl<'a> Adoption<'a> {
    /// By the names of `inventory` and the settings of `table`, which is in force.
    pub fn new(inventory: &'a Inventory, table: &'a Table, anchor: Anchor, now: Instant) -> Self {
        Self {
            inventory,
            table,
            anchor,
            now,
            elsewhere: None,
            made: Mutex::default(),
        }
    }

    /// The same, where the places of connections that come are counted already.
    #[must_use]
    pub fn with_places(self, elsewhere: &'a Elsewhere) -> Self {
        let elsewhere = Some(elsewhere);
        Self { elsewhere, ..self }
    }

    /// The settings of a connection of this listener to this server.
    pub(crate) fn settings(
        &self,
        listener: &str,
        server: &Arc<Server>,
        kept: Kept,
    ) -> Arc<ListenerSettings> {
        let mut configured = self.table.listeners.iter();
        if let Some(settings) = configured.find(|settings| settings.listener.name == listener) {
            return settings.clone();
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |made: &&Arc<ListenerSettings>| {
            made.listener.name == listener && Kept::of(made) == kept
        };
        if let Some(made) = made.as_ref().filter(fits) {
            return made.clone();
        }
        let upstream = self.inventory.retired_upstream(&server.upstream);
        let members = vec![Member::new(server.clone(), 1)];
        let pool = Arc::new(Pool::new(upstream, members, PoolSettings::default()));
        let listener = self.inventory.retired_listener(listener);
        let ends = self.table.listeners.first();
        let settings = ListenerSettings {
            idle_timeout: kept.idle_timeout,
            times: kept.times,
            splice: kept.splice,
            ends: ends.and_then(|settings| settings.ends.clone()),
            ..ListenerSettings::new(listener, pool)
        };
        made.insert(Arc::new(settings)).clone()
    }

    /// A server by its upstream and label; where it is new, it is at `address`, or has a name.
    pub(crate) fn server(
        &self,
        upstream: &str,
        label: &str,
        address: Option<ServerAddress>,
    ) -> Arc<Server> {
        let upstream = self.inventory.retired_upstream(upstream);
        let label = label.to_owned();
        let make = |upstream: &Upstream| match address {
            Some(address) => Server::fixed(upstream, label.clone(), address),
            None => Server::named(upstream, label.clone()),
        };
        self.inventory
            .retired_server(&upstream, &label, || make(&upstream))
    }
}

impl Kept {
    pub(crate) fn of(settings: &ListenerSettings) -> Self {
        Self {
            idle_timeout: settings.idle_timeout,
            times: settings.times,
            splice: settings.splice,
        }
    }
}
