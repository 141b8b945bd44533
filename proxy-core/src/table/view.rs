//! What people are shown: what is configured, and what was a while ago.

use std::sync::Arc;

use crate::listener::Listener;
use crate::listener::settings::ListenerSettings;
use crate::upstream::Upstream;
use crate::upstream::pool::Pool;
use crate::upstream::server::Server;

/// All that has a name, at one moment. What is configured comes first, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Listeners.
    pub listeners: Vec<ListenerView>,
    /// Upstreams.
    pub upstreams: Vec<UpstreamView>,
    /// What listeners counted that nobody is shown any more, by the worker's index.
    pub forgotten: Vec<Forgotten>,
}

/// A listener.
#[derive(Clone, Debug)]
pub struct ListenerView {
    /// The listener.
    pub listener: Arc<Listener>,
    /// What new connections have; none if it is not configured any more.
    pub settings: Option<Arc<ListenerSettings>>,
}

/// An upstream.
#[derive(Clone, Debug)]
pub struct UpstreamView {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// Where new connections go; none if it is not configured any more.
    pub pool: Option<Arc<Pool>>,
    /// Its servers: those of the pool in their order, then those that were removed.
    pub servers: Vec<Arc<Server>>,
}

/// Sums of listeners that were forgotten, so that those over all listeners never shrink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Connections taken on.
    pub accepted: u64,
    /// Bytes received from clients and taken by servers.
    pub bytes_in: u64,
    /// Bytes received from servers and taken by clients.
    pub bytes_out: u64,
}

impl UpstreamView {
    /// The servers that new connections go to.
    pub fn members(&self) -> &[Arc<Server>] {
        let members = self.pool.as_ref().map_or(0, |pool| pool.members().len());
        &self.servers[..members]
    }

    /// Whether health checks say which of them are up.
    pub fn is_checked(&self) -> bool {
        self.pool
            .as_ref()
            .is_some_and(|pool| pool.settings().checked)
    }
}

impl Forgotten {
    /// What a listener counted on the workers with this index.
    pub fn of(listener: &Listener, core: usize) -> Self {
        let cells = &listener.cells;
        Self {
            accepted: cells.sum_of_core(core, |cells| cells.accepted.get()),
            bytes_in: cells.sum_of_core(core, |cells| cells.bytes_in.get()),
            bytes_out: cells.sum_of_core(core, |cells| cells.bytes_out.get()),
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}
