//! Where a server is.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;

/// An address that can be connected to at once: names are resolved before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl ServerAddress {
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
