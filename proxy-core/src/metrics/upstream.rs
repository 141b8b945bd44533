//! What one worker counts of one upstream and its servers.

use std::io;
use std::time::Duration;

use super::{Counter, Histogram};

/// Counters of one upstream on one worker.
#[derive(Debug)]
pub struct UpstreamCells {
    /// Attempts beyond a connection's first.
    pub retries: Counter,
    /// Attempts that its budget for them did not allow.
    pub retries_refused: Counter,
    /// Connections that connected for the first time, where there is such a budget.
    pub connections: Counter,
    /// How long connects took that worked.
    pub connect: Histogram,
    /// Connections that began to wait for a server.
    pub waits_begun: Counter,
    /// Connections that wait no more: a server took them, or they ended.
    pub waits_over: Counter,
    /// How long connections waited for a place, as all servers were full, however that ended.
    pub slot_waits: Histogram,
    /// Connections for which none of its servers could be connected to.
    pub unserved: Counter,
}

impl Default for UpstreamCells {
    fn default() -> Self {
        Self {
            retries: Counter::default(),
            retries_refused: Counter::default(),
            connections: Counter::default(),
            connect: Histogram::new(CONNECT_BOUNDS),
            waits_begun: Counter::default(),
            waits_over: Counter::default(),
            slot_waits: Histogram::new(SLOT_WAIT_BOUNDS),
            unserved: Counter::default(),
        }
    }
}

/// From loopback to a server whose SYN was lost more than once.
const CONNECT_BOUNDS: &[Duration] = &[
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// From a place that was handed on at once to a wait that nobody should have.
const SLOT_WAIT_BOUNDS: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Counters of one server on one worker.
#[derive(Debug, Default)]
pub struct ServerCells {
    /// Connections begun, connects under way included.
    pub opened: Counter,
    /// Connects that failed, by [`ConnectFailure`].
    pub failures: [Counter; ConnectFailure::ALL.len()],
    /// Bytes from clients that it took.
    pub bytes_in: Counter,
    /// Bytes from it that clients took.
    pub bytes_out: Counter,
}

/// Why a server could not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// Nobody listens there.
    Refused,
    /// No answer within `connect_timeout`.
    Timeout,
    /// It was reset while connecting.
    Reset,
    /// There is no way there.
    Unreachable,
    /// The server's name has no address now.
    Resolve,
    /// This machine lacks a port, a descriptor or memory for it.
    Local,
    /// Something else; the log has it.
    Other,
    /// It accepted the connection and ended it before anything was sent to it. Where there is a budget for retries only.
    Closed,
    /// It was asked for TLS (`starttls`), and refused, said something else or ended the connection.
    Starttls,
    /// It answered a health check otherwise than it should, or not at all before it closed. Connects never fail so.
    Answer,
}

impl ConnectFailure {
    /// Every reason, in the order of its counters.
    pub const ALL: [Self; 10] = [
        Self::Refused,
        Self::Timeout,
        Self::Reset,
        Self::Unreachable,
        Self::Resolve,
        Self::Local,
        Self::Other,
        Self::Closed,
        Self::Starttls,
        Self::Answer,
    ];

    /// Reasons of connects: all but what only health checks hear.
    pub fn of_connects() -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter();
        all.filter(|reason| *reason != Self::Answer)
    }

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
            Self::Resolve => "resolve",
            Self::Local => "local",
            Self::Other => "other",
            Self::Closed => "closed",
            Self::Starttls => "starttls",
            Self::Answer => "answer",
        }
    }

    /// The reason that an error of `connect(2)` stands for, or a timeout of our own.
    pub fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        if error.kind() == io::ErrorKind::TimedOut {
            return Self::Timeout;
        }
        match Errno::from_io_error(error) {
            // A unix socket says ENOENT when nobody ever listened. EAGAIN, that its queue is full, is waited for.
            Some(Errno::CONNREFUSED | Errno::NOENT) => Self::Refused,
            Some(Errno::CONNRESET) => Self::Reset,
            Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN) => Self::Unreachable,
            Some(
                Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS,
            ) => Self::Local,
            // EACCES and EPERM among them: this user may not connect to that unix socket, or a rule of this machine forbids it.
            _ => Self::Other,
        }
    }
}
