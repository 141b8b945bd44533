//! A connection's place at a server.

use std::sync::Arc;

use crate::upstream::server::Server;

/// The place of one connection at a server and at its upstream, given back when this is dropped.
#[derive(Debug)]
pub struct Taken(Arc<Server>);

impl Taken {
    /// Both places must have been taken.
    pub(crate) fn of(server: Arc<Server>) -> Self {
        Self(server)
    }

    /// A connection to a server besides those that a pool has it get, until this is dropped.
    pub fn beside(server: &Arc<Server>) -> Self {
        server.take();
        Self(server.clone())
    }

    /// Whether clients wait, or have, for places such as this one.
    pub fn is_waited_for(&self) -> bool {
        self.0.is_waited_for()
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.release();
    }
}
