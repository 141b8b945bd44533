//! What one worker counts of one listener.

use std::time::Duration;

use super::{Counter, Histogram};

/// Counters of one listener on one worker.
#[derive(Debug)]
pub struct ListenerCells {
    /// Connections taken on.
    pub accepted: Counter,
    /// Connections closed at once, by [`Rejection`].
    pub rejected: [Counter; Rejection::ALL.len()],
    /// What came of the prologues of connections, by [`PrologueResult`].
    pub prologue: [Counter; PrologueResult::ALL.len()],
    /// Connections that ended, by [`Cause`].
    pub ended: [Counter; Cause::ALL.len()],
    /// Bytes received from clients and taken by servers.
    pub bytes_in: Counter,
    /// Bytes received from servers and taken by clients.
    pub bytes_out: Counter,
    /// How many of all these bytes went through a pipe, uncopied.
    pub bytes_spliced: Counter,
    /// How long connections lasted, from accept to close.
    pub duration: Histogram,
}

impl Default for ListenerCells {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            rejected: Default::default(),
            prologue: Default::default(),
            ended: Default::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            bytes_spliced: Counter::default(),
            duration: Histogram::new(DURATION_BOUNDS),
        }
    }
}

/// From a health check's blink to a database session of a day.
const DURATION_BOUNDS: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1800),
    Duration::from_secs(3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(12 * 3600),
    Duration::from_secs(24 * 3600),
];

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Both sides ended their streams, and each end was passed on.
    Finished,
    /// The client reset the connection, or stopped taking bytes for good.
    ClientReset,
    /// The server did.
    ServerReset,
    /// The client's path failed: a timeout of the kernel, an unreachable network.
    ClientError,
    /// The server's path failed.
    ServerError,
    /// No server of the upstream could be connected to.
    ConnectFailed,
    /// No byte came from either side for the listener's `idle_timeout`.
    IdleTimeout,
    /// No byte came from the client for the listener's `client_idle_timeout`.
    ClientIdleTimeout,
    /// No byte came from the server for the listener's `server_idle_timeout`.
    ServerIdleTimeout,
    /// One of its streams had ended, and the other one had not for the listener's `half_closed_timeout`.
    HalfClosedTimeout,
    /// It had lasted for the listener's `max_lifetime`.
    MaxLifetime,
    /// The proxy stopped before the connection ended, or its listener was removed.
    Drain,
    /// What the client said before a server was looked for was refused, or who it is.
    Refused,
    /// The client did not say within `prologue_timeout` what the listener must hear first.
    PrologueTimeout,
    /// Its server went down, and its upstream doesn't keep connections then.
    ServerDown,
    /// Its server was removed, and its upstream doesn't keep connections then.
    ServerRemoved,
    /// Somebody has ended it by the API.
    ByHand,
}

impl Cause {
    /// Every cause, in the order of its counters.
    pub const ALL: [Self; 17] = [
        Self::Finished,
        Self::ClientReset,
        Self::ServerReset,
        Self::ClientError,
        Self::ServerError,
        Self::ConnectFailed,
        Self::IdleTimeout,
        Self::ClientIdleTimeout,
        Self::ServerIdleTimeout,
        Self::HalfClosedTimeout,
        Self::MaxLifetime,
        Self::Drain,
        Self::Refused,
        Self::PrologueTimeout,
        Self::ServerDown,
        Self::ServerRemoved,
        Self::ByHand,
    ];

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientReset => "client_reset",
            Self::ServerReset => "server_reset",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::ConnectFailed => "connect_failed",
            Self::IdleTimeout => "idle_timeout",
            Self::ClientIdleTimeout => "client_idle_timeout",
            Self::ServerIdleTimeout => "server_idle_timeout",
            Self::HalfClosedTimeout => "half_closed_timeout",
            Self::MaxLifetime => "max_lifetime",
            Self::Drain => "drain",
            Self::Refused => "refused",
            Self::PrologueTimeout => "prologue_timeout",
            Self::ServerDown => "server_down",
            Self::ServerRemoved => "server_removed",
            Self::ByHand => "by_hand",
        }
    }
}

/// Why a connection was closed before anything was done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The listener has `max_connections` already.
    MaxConnections,
    /// The process has `max_connections` already.
    ProcessConnections,
    /// The client is not let in, by its address.
    Denied,
    /// The client's source has `max_connections_per_source` already.
    SourceConnections,
    /// The peer has `max_headers_per_peer` connections already of which the header is still to come.
    PeerHeaders,
    /// As many connections have begun as `max_rate` allows.
    Rate,
    /// As many have begun from the client's source as `max_rate_per_source` allows.
    SourceRate,
    /// The process or the system has no descriptor or memory left; the client waits in the backlog meanwhile.
    Descriptors,
    /// The route that it took refuses.
    Route,
    /// No route took it, and there is no other upstream.
    NoRoute,
    /// The servers that could serve it have as many connections as they may.
    ServersFull,
    /// No server that could serve it is up, and those that are down are not tried.
    ServersDown,
    /// It waited for a place at a server for as long as it may.
    QueueTimeout,
}

impl Rejection {
    /// Every reason, in the order of its counters.
    pub const ALL: [Self; 13] = [
        Self::MaxConnections,
        Self::ProcessConnections,
        Self::Denied,
        Self::SourceConnections,
        Self::PeerHeaders,
        Self::Rate,
        Self::SourceRate,
        Self::Descriptors,
        Self::Route,
        Self::NoRoute,
        Self::ServersFull,
        Self::ServersDown,
        Self::QueueTimeout,
    ];

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::ProcessConnections => "process_connections",
            Self::Denied => "denied",
            Self::SourceConnections => "source_connections",
            Self::PeerHeaders => "peer_headers",
            Self::Rate => "rate",
            Self::SourceRate => "source_rate",
            Self::Descriptors => "descriptors",
            Self::Route => "route",
            Self::NoRoute => "no_route",
            Self::ServersFull => "servers_full",
            Self::ServersDown => "servers_down",
            Self::QueueTimeout => "queue_timeout",
        }
    }
}

/// What came of a prologue: what a client says before a server is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrologueResult {
    /// A header of the PROXY protocol announced the client.
    Header,
    /// A header announced nobody: the connection is the peer's own.
    Local,
    /// There was none, which is allowed.
    Plain,
    /// The peer opened and closed without a byte, as a balancer's check does.
    Probe,
    /// The client was too slow.
    Timeout,
    /// The client went away in the middle.
    Closed,
    /// The peer is none of those that may send a header.
    Untrusted,
    /// What came is no header.
    NoHeader,
    /// The header is broken.
    BadHeader,
    /// The header's checksum is wrong.
    Checksum,
    /// The header, or the ClientHello, is longer than is allowed.
    TooLong,
    /// A ClientHello said what the client asks for.
    Hello,
    /// The client doesn't speak TLS, and nothing else is taken.
    NoHello,
    /// The ClientHello is broken, or what comes before it.
    BadHello,
}

impl PrologueResult {
    /// Every result, in the order of its counters.
    pub const ALL: [Self; 14] = [
        Self::Header,
        Self::Local,
        Self::Plain,
        Self::Probe,
        Self::Timeout,
        Self::Closed,
        Self::Untrusted,
        Self::NoHeader,
        Self::BadHeader,
        Self::Checksum,
        Self::TooLong,
        Self::Hello,
        Self::NoHello,
        Self::BadHello,
    ];

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Local => "local",
            Self::Plain => "plain",
            Self::Probe => "probe",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Untrusted => "untrusted",
            Self::NoHeader => "no_header",
            Self::BadHeader => "bad_header",
            Self::Checksum => "checksum",
            Self::TooLong => "too_long",
            Self::Hello => "hello",
            Self::NoHello => "no_hello",
            Self::BadHello => "bad_hello",
        }
    }

    /// Whether the connection was refused for it.
    pub const fn is_refusal(self) -> bool {
        !matches!(
            self,
            Self::Header | Self::Local | Self::Plain | Self::Probe | Self::Hello
        )
    }
}
