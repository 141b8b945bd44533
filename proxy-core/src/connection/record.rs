//! What can be seen of a live connection from another thread.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::connection::origin::{ClientAddress, Origin};
use crate::metrics::Counter;
use crate::upstream::server::Server;

/// Cells of one connection. They have one writer, the worker that has the connection now: plain loads and stores.
#[derive(Debug)]
pub(crate) struct Record {
    id: u64,
    origin: Origin,
    /// Bytes from the client that the server took.
    bytes_in: Counter,
    /// Bytes from the server that the client took.
    bytes_out: Counter,
    /// Nanoseconds from the accept to the last byte.
    last_byte: AtomicU64,
    /// Set when one was connected to.
    server: OnceLock<Arc<Server>>,
    core: AtomicU32,
}

/// A live connection at one moment. What changes meanwhile may be of moments that lie microseconds apart.
#[derive(Clone, Debug)]
pub struct LiveConnection {
    /// Unique while the process lives, and of no order.
    pub id: u64,
    /// The client.
    pub client: ClientAddress,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// When the last byte came, or else the server was connected, or else it was accepted.
    pub last_byte_at: Instant,
    /// The server; none while connecting.
    pub server: Option<Arc<Server>>,
    /// The worker that has it.
    pub core: usize,
    /// Bytes from the client that the server took.
    pub bytes_in: u64,
    /// Bytes from the server that the client took.
    pub bytes_out: u64,
}

impl Record {
    pub(crate) fn new(id: u64, origin: Origin, core: usize) -> Self {
        Self {
            id,
            origin,
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            last_byte: AtomicU64::new(0),
            server: OnceLock::new(),
            core: AtomicU32::new(core as u32),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Bytes in, and bytes out.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.get(), self.bytes_out.get())
    }

    /// A server was connected to.
    pub(crate) fn on_connected(&self, server: Arc<Server>, now: Instant) {
        self.set_last_byte(now);
        // A connection has one server.
        let _ = self.server.set(server);
    }

    /// The server that was connected to.
    pub(crate) fn server(&self) -> Option<&Arc<Server>> {
        self.server.get()
    }

    /// A turn forwarded bytes.
    pub(crate) fn on_bytes(&self, bytes_in: u64, bytes_out: u64, now: Instant) {
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
        self.set_last_byte(now);
    }

    /// Another worker has it.
    pub(crate) fn on_moved(&self, core: usize) {
        self.core.store(core as u32, Relaxed);
    }

    /// What the cells say now.
    pub(crate) fn look(&self) -> LiveConnection {
        LiveConnection {
            id: self.id,
            client: self.origin.client,
            accepted_at: self.origin.accepted_at,
            last_byte_at: self.origin.accepted_at
                + Duration::from_nanos(self.last_byte.load(Relaxed)),
            server: self.server.get().cloned(),
            core: self.core.load(Relaxed) as usize,
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }

    fn set_last_byte(&self, now: Instant) {
        let after = now.saturating_duration_since(self.origin.accepted_at);
        self.last_byte.store(after.as_nanos() as u64, Relaxed);
    }
}
