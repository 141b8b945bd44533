//! The proxy as a whole, its configuration, and what has changed lately.

use proxy_core::View;
use serde::Serialize;

use crate::findings::unix_seconds;
use crate::observed::Observed;
use crate::observed::events::Event;

/// The proxy as a whole.
#[derive(Serialize)]
pub(crate) struct Status {
    version: &'static str,
    pid: u32,
    scheduler: &'static str,
    cores: usize,
    draining: bool,
    connections: u64,
    listeners: usize,
    upstreams: usize,
    config_hash: String,
    /// When the configuration was last read with success, as Unix time in seconds.
    config_read_at: f64,
    /// Why the last reading was refused; none: it succeeded.
    config_refused: Option<String>,
    /// The number of the last event.
    last_event: u64,
}

impl Status {
    pub(crate) fn of(observed: &Observed, view: &View) -> Self {
        let running = observed.running();
        let listeners = view.listeners.iter();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            scheduler: running.profile.name,
            cores: running.threads.len(),
            draining: observed.is_draining(),
            connections: listeners.map(|view| view.listener.connections()).sum(),
            listeners: (view.listeners.iter())
                .filter(|view| view.settings.is_some())
                .count(),
            upstreams: (view.upstreams.iter())
                .filter(|view| view.pool.is_some())
                .count(),
            config_hash: observed.configuration_hash(),
            config_read_at: unix_seconds(observed.reloads.at()),
            config_refused: observed.reloads.refusal().map(|refusal| refusal.reason),
            last_event: observed.events.last(),
        }
    }
}

/// The configuration in force.
#[derive(Serialize)]
pub(crate) struct Configuration {
    hash: String,
    /// As one file that means the same.
    toml: String,
}

impl Configuration {
    pub(crate) fn of(observed: &Observed) -> Self {
        Self {
            hash: observed.configuration_hash(),
            toml: observed.configuration(),
        }
    }
}

/// What the configuration in force and its files differ by.
#[derive(Serialize)]
pub(crate) struct Difference {
    pub(crate) differs: bool,
    /// What a reload would change, a line each.
    pub(crate) lines: Vec<String>,
}

/// What has changed lately.
#[derive(Serialize)]
pub(crate) struct Recent {
    /// The oldest first.
    pub(crate) events: Vec<Event>,
    /// The number of the last one that there is.
    pub(crate) last: u64,
}
