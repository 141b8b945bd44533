//! What can be seen of a live connection from another thread.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::connection::origin::{ClientAddress, Origin};
use crate::metrics::Counter;
use crate::route::Facts;
use crate::upstream::server::Server;

/// Cells of one connection. They have one writer, the worker that has the connection now: plain loads and stores.
#[derive(Debug)]
pub(crate) struct Record {
    id: u64,
    whence: Whence,
    accepted_at: Instant,
    /// Bytes from the client that the server took.
    bytes_in: Counter,
    /// Bytes from the server that the client took.
    bytes_out: Counter,
    /// Nanoseconds from the accept to the last byte.
    last_byte: AtomicU64,
    /// Set when one was connected to.
    server: OnceLock<Arc<Server>>,
    core: AtomicU32,
    in_prologue: bool,
}

/// Who a client is.
#[derive(Debug)]
enum Whence {
    /// Nothing is known besides who has connected.
    Peer(ClientAddress),
    /// It has said more, or its listener has routes.
    Facts(Arc<Facts>),
}

/// What another process counted of a connection.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) accepted_at: Instant,
    pub(crate) last_byte_at: Instant,
    pub(crate) server: Arc<Server>,
    /// In, and out.
    pub(crate) bytes: (u64, u64),
}

/// A live connection at one moment. What changes meanwhile may be of moments that lie microseconds apart.
#[derive(Clone, Debug)]
pub struct LiveConnection {
    /// Unique while the process lives, and of no order.
    pub id: u64,
    /// The client: the one that the peer announced, if it did.
    pub client: ClientAddress,
    /// Who has connected.
    pub peer: ClientAddress,
    /// What else is known of it; none where the listener neither hears its clients nor has routes.
    pub facts: Option<Arc<Facts>>,
    /// It is still heard, and no server is looked for.
    pub in_prologue: bool,
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
    /// That of a connection that was accepted just now; `in_prologue` says whether its client is heard first.
    pub(crate) fn new(id: u64, origin: Origin, core: usize, in_prologue: bool) -> Self {
        Self::of(
            id,
            Whence::Peer(origin.peer),
            origin.accepted_at,
            core,
            in_prologue,
        )
    }

    /// The same connection, of which more is known. It must have no server yet.
    pub(crate) fn with(&self, facts: Arc<Facts>) -> Self {
        let core = self.core.load(Relaxed) as usize;
        Self::of(self.id, Whence::Facts(facts), self.accepted_at, core, false)
    }

    /// The same connection without the server that it had, from and to which nothing has gone.
    pub(crate) fn without_server(&self) -> Self {
        let whence = match &self.whence {
            Whence::Peer(peer) => Whence::Peer(*peer),
            Whence::Facts(facts) => Whence::Facts(facts.clone()),
        };
        let core = self.core.load(Relaxed) as usize;
        Self::of(self.id, whence, self.accepted_at, core, false)
    }

    /// That of a client that has no server yet, as another process knew it.
    pub(crate) fn carried_unserved(
        id: u64,
        facts: Result<Facts, ClientAddress>,
        accepted_at: Instant,
    ) -> Self {
        let whence = match facts {
            Ok(facts) => Whence::Facts(Arc::new(facts)),
            Err(peer) => Whence::Peer(peer),
        };
        Self::of(id, whence, accepted_at, 0, false)
    }

    /// That of a connection as another process knew it.
    pub(crate) fn carried(id: u64, facts: Result<Facts, ClientAddress>, state: Carried) -> Self {
        let record = Self::carried_unserved(id, facts, state.accepted_at);
        record.bytes_in.add(state.bytes.0);
        record.bytes_out.add(state.bytes.1);
        record.on_connected(state.server, state.last_byte_at);
        record
    }

    /// When the last byte came, or else the server was connected to.
    pub(crate) fn last_byte_at(&self) -> Instant {
        self.accepted_at + Duration::from_nanos(self.last_byte.load(Relaxed))
    }

    fn of(id: u64, whence: Whence, accepted_at: Instant, core: usize, in_prologue: bool) -> Self {
        Self {
            id,
            whence,
            accepted_at,
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            last_byte: AtomicU64::new(0),
            server: OnceLock::new(),
            core: AtomicU32::new(core as u32),
            in_prologue,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The client: the one that the peer announced, if it did.
    pub(crate) fn client(&self) -> ClientAddress {
        match &self.whence {
            Whence::Peer(peer) => *peer,
            Whence::Facts(facts) => facts.client,
        }
    }

    /// Who has connected.
    pub(crate) fn peer(&self) -> ClientAddress {
        match &self.whence {
            Whence::Peer(peer) => *peer,
            Whence::Facts(facts) => facts.peer,
        }
    }

    pub(crate) fn facts(&self) -> Option<&Arc<Facts>> {
        match &self.whence {
            Whence::Peer(_) => None,
            Whence::Facts(facts) => Some(facts),
        }
    }

    pub(crate) fn accepted_at(&self) -> Instant {
        self.accepted_at
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
    pub(crate) fn sample(&self) -> LiveConnection {
        LiveConnection {
            id: self.id,
            client: self.client(),
            peer: self.peer(),
            facts: self.facts().cloned(),
            in_prologue: self.in_prologue,
            accepted_at: self.accepted_at,
            last_byte_at: self.last_byte_at(),
            server: self.server.get().cloned(),
            core: self.core.load(Relaxed) as usize,
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }

    fn set_last_byte(&self, now: Instant) {
        let after = now.saturating_duration_since(self.accepted_at);
        self.last_byte.store(after.as_nanos() as u64, Relaxed);
    }
}
