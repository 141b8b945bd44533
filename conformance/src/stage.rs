//! What a case plays on.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::prologue::PrologueSettings;
use proxy_core::{
    BandwidthSettings, ClientAddress, EjectionSettings, Ends, Generation, Listener,
    ListenerSettings, Pool, QueueSettings, SendProxy, Times,
};

/// What is behind the proxy, and how it is configured.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The upstream's servers, which take turns.
    pub servers: Vec<ServerKind>,
    /// They are the addresses of a name, which is the upstream's only server.
    pub one_name: bool,
    /// Workers of the proxy.
    pub workers: usize,
    /// The listener's `idle_timeout`.
    pub idle_timeout: Option<Duration>,
    /// The listener's other times.
    pub times: Times,
    /// How fast the listener's connections may be.
    pub bandwidth: BandwidthSettings,
    /// The upstream's `connect_timeout`.
    pub connect_timeout: Duration,
    /// The upstream's `starttls_timeout`.
    pub starttls_timeout: Duration,
    /// The upstream's `retry_budget`, in percent.
    pub retry_budget: Option<u8>,
    /// The listener's `max_connections`.
    pub max_connections: Option<u64>,
    /// Where the listener reports ends.
    pub ends: Option<Arc<Ends>>,
    /// What the listener hears of its clients first.
    pub prologue: Option<PrologueSettings>,
    /// Routes: names that clients ask for, each with the server that it leads to. The rest goes to the upstream.
    pub routes: Vec<(&'static str, usize)>,
    /// The headers that servers get.
    pub send_proxy: Option<SendProxy>,
    /// Connections that each server has at a time.
    pub server_connections: Option<u64>,
    /// How many connections wait for places there, and how long.
    pub queue: Option<QueueSettings>,
    /// When the upstream ejects servers.
    pub ejection: Option<EjectionSettings>,
    /// Where clients come from. On the scripted kernel only.
    pub client: ClientAddress,
}

impl Default for Setup {
    /// One server that listens, two workers, no limits.
    fn default() -> Self {
        Self {
            servers: vec![ServerKind::Listening],
            one_name: false,
            workers: 2,
            idle_timeout: None,
            times: Times::default(),
            bandwidth: BandwidthSettings::default(),
            connect_timeout: Duration::from_secs(30),
            starttls_timeout: Duration::from_secs(30),
            retry_budget: None,
            max_connections: None,
            ends: None,
            prologue: None,
            routes: Vec::new(),
            send_proxy: None,
            server_connections: None,
            queue: None,
            ejection: None,
            client: ClientAddress::Unix,
        }
    }
}

/// How a server answers a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// It listens.
    Listening,
    /// Nobody listens there.
    Refusing,
    /// It says nothing.
    Silent,
    /// Its name has no address.
    Unresolved,
    /// Nobody listens there, and the connect meets itself. On the scripted kernel only, as it takes luck on a real one.
    Itself,
    /// A unix socket whose queue is full until there is room. On the scripted kernel; on a real one it is a silent one.
    Full,
    /// The connect panics. On the scripted kernel only.
    Bug,
}

/// A proxy between clients and servers that a case plays.
pub trait Stage: Sized {
    /// The far end of one of the proxy's connections.
    type Peer: Peer;
    /// Bytes that flow without end between two peers.
    type Flood: Flood;

    /// Times that a case is played: more than once where each time differs.
    const ROUNDS: u64;
    /// How long a case waits for what must come by itself.
    const PATIENCE: Duration;
    /// After how long without a byte a flow counts as stuck.
    const LULL: Duration;
    /// What counts as a lot of bytes: far more than is under way at a time.
    const BULK_BYTES: u64;
    /// Bytes that may be under way in one direction: in the kernel's buffers and in the proxy.
    const UNDER_WAY_MAX: u64;

    /// Why this stage can't be played on here.
    fn unavailable() -> Option<String> {
        None
    }

    /// Tells which round is played next, on this thread.
    fn set_round(_round: u64) {}

    /// Starts a proxy.
    fn start(setup: Setup) -> Self;

    /// The proxy's listener, as it is configured.
    fn settings(&self) -> &ListenerSettings;

    /// What the workers share.
    fn generation(&self) -> &Generation;

    /// A client that has connected to the proxy.
    fn connect(&self) -> Self::Peer;

    /// The next connection of the proxy to the server with this index, if there is one yet.
    fn accept(&self, server: usize) -> Option<Self::Peer>;

    /// The stage's clock. A worker counts from when its turn began, a moment before the test sees anything happen: a time that was
    /// waited for is only about as long as it should be.
    fn now(&self) -> Instant;

    /// Lets the proxy work for a moment, or time pass. False when it is `until` and nothing is left to do.
    fn pass(&self, until: Instant) -> bool;

    /// Ends the proxy at once, whatever it is at.
    fn stop(&self);

    /// Has `source` send and `sink` receive for as long as the flood lives.
    fn flood(&self, source: Self::Peer, sink: Self::Peer) -> Self::Flood;

    /// The proxy's listener.
    fn listener(&self) -> &Listener {
        &self.settings().listener
    }

    /// The proxy's upstream.
    fn pool(&self) -> &Pool {
        &self.settings().pool
    }

    /// A client, and the first server's end of its connection.
    ///
    /// # Panics
    /// When the proxy has not connected to the server after [`Stage::PATIENCE`].
    fn pair(&self) -> (Self::Peer, Self::Peer) {
        let client = self.connect();
        let until = self.now() + Self::PATIENCE;
        let server = loop {
            match self.accept(0) {
                Some(server) => break server,
                None => assert!(self.pass(until), "the proxy doesn't connect to the server"),
            }
        };
        (client, server)
    }
}

/// One end of a connection whose other end is the proxy's. Nothing here waits. Dropping it closes it.
pub trait Peer {
    /// Sends what there is room for now.
    ///
    /// # Errors
    /// When the proxy has reset the connection.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Puts an urgent mark behind what was sent, if there is room: a byte that is no part of the stream.
    fn send_mark(&self);

    /// Receives what is there now.
    fn receive(&self, buffer: &mut [u8]) -> Received;

    /// Bytes that were sent and that a close with a reset would throw away.
    fn unacknowledged(&self) -> usize;

    /// Ends this side's stream.
    fn shutdown_write(&self);

    /// Whether the proxy has reset the connection, found out without receiving.
    fn is_reset(&self) -> bool;

    /// Closes it with a reset.
    fn reset(self);
}

/// What a peer received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The orderly end of the stream.
    End,
    /// A reset.
    Reset,
}

/// Bytes that flow without end.
pub trait Flood {
    /// Bytes that arrived so far.
    fn bytes(&self) -> u64;
}
