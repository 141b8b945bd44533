//! Where a server is.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::transport::Transport;

/// An address that can be connected to at once: names are resolved before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl ServerAddress {
    /// Whether a connect to this address, which has begun, has met itself: where nobody listens, the kernel may give a client
    /// the very port that it connects to, and that is a connection then, whose bytes come back to their sender.
    ///
    /// The caller must not use it. Its close is made a reset, as it would keep the server's port for a minute.
    pub fn is_met_by(&self, transport: &impl Transport) -> bool {
        let Self::Tcp(there) = self else {
            return false;
        };
        let Ok(Some(here)) = transport.local_address() else {
            return false;
        };
        // Any address stands for loopback's here.
        let same_host = here.ip() == there.ip() || there.ip().is_unspecified();
        let is_met = same_host && here.port() == there.port();
        if is_met {
            transport.reset_on_close();
        }
        is_met
    }

    /// Whether a connect failed only because the queue of the server is full: a unix socket says so at once, where TCP would
    /// wait.
    pub fn is_full(&self, error: &io::Error) -> bool {
        matches!(self, Self::Unix(_)) && Errno::from_io_error(error) == Some(Errno::AGAIN)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
