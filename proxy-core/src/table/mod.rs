//! What is configured, as workers see it: immutable tables, of which the last one is in force.

pub(crate) mod inventory;
pub(crate) mod view;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::listener::Listener;
use crate::listener::settings::ListenerSettings;
use crate::listener::share::Share;
use crate::upstream::pool::Pool;

/// The settings of all listeners and upstreams, as one reading of the configuration has them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its place in the order of publication.
    number: u64,
    /// In the order of the configuration.
    pub listeners: Vec<Arc<ListenerSettings>>,
    /// In the order of the configuration.
    pub pools: Vec<Arc<Pool>>,
    latency: Option<Duration>,
}

impl Table {
    /// A table that was not published yet.
    pub fn new(listeners: Vec<Arc<ListenerSettings>>, pools: Vec<Arc<Pool>>) -> Self {
        Self {
            number: 0,
            latency: listeners
                .iter()
                .filter_map(|settings| settings.latency)
                .min(),
            listeners,
            pools,
        }
    }

    /// Its place in the order of publication; 0 before that.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The settings of a listener; none if it is not configured.
    pub fn settings_of(&self, listener: &Listener) -> Option<&Arc<ListenerSettings>> {
        let mut settings = self.listeners.iter();
        settings.find(|settings| std::ptr::eq(&*settings.listener, listener))
    }

    /// How soon the connections of the most impatient listener want to run; none: throughput is what matters to all.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// Has those who wait for a place at a server be served by what is configured here.
    fn serve_waiting(&self) {
        self.pools.iter().for_each(Pool::serve_waiting);
    }

    /// Has everybody whose client waits for a place look again.
    pub(crate) fn wake_waiting(&self) {
        for settings in &self.listeners {
            settings.listener.counted.total.waiters.on_change();
        }
    }

    /// Has the listeners' connections be as fast as they may, whatever settings they began with. Returns whether that differs
    /// from before: those that wait are to be run then.
    pub fn apply_bandwidth(&self) -> bool {
        let mut is_other = false;
        for settings in &self.listeners {
            is_other |= settings.listener.bandwidth.set(settings.bandwidth);
        }
        is_other
    }

    /// Has the listeners' connections have their parts of the CPU, whatever settings they began with. Under a scheduler that
    /// doesn't weigh listeners itself, turns are weighed by shares.
    pub fn apply_shares(&self, has_queues: bool) {
        for settings in &self.listeners {
            settings.listener.share.set_shares(settings.shares);
        }
        let shares = self
            .listeners
            .iter()
            .map(|settings| &settings.listener.share);
        // A turn holds up the connections of all listeners.
        Share::set_turns(shares, self.latency(), !has_queues);
    }
}

/// Where the table that is in force is published.
#[derive(Debug)]
pub struct Tables {
    /// That of the table. Workers read it once a connection.
    number: AtomicU64,
    current: Mutex<Arc<Table>>,
}

impl Tables {
    /// With a first table in force.
    pub fn new(mut table: Table) -> Self {
        table.number = 1;
        Self {
            number: AtomicU64::new(1),
            current: Mutex::new(Arc::new(table)),
        }
    }

    /// Puts a table in force: connections that begin from now on have its settings.
    pub fn publish(&self, mut table: Table) -> Arc<Table> {
        let mut current = self.lock();
        table.number = current.number + 1;
        let before = std::mem::replace(&mut *current, Arc::new(table));
        // Who sees the number finds the table.
        self.number.store(current.number, Release);
        let table = current.clone();
        drop(current);
        before.wake_waiting();
        table.wake_waiting();
        table.serve_waiting();
        table
    }

    /// The table that is in force.
    pub fn current(&self) -> Arc<Table> {
        self.lock().clone()
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number.load(Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Table>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
