//! Where a listener listens.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// TCP; port 0 lets the kernel choose. `[::]` is IPv6 only.
    Tcp(SocketAddr),
    /// TCP on every address of the machine, IPv4 and IPv6, at this port.
    Every(u16),
    /// A unix stream socket at this path.
    Unix(PathBuf),
}

impl BindAddress {
    /// The port; none for a unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Every(port) => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// Where a client on this machine connects to; none for a unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) if !address.ip().is_unspecified() => Some(*address),
            Self::Tcp(address) if address.is_ipv6() => {
                Some((Ipv6Addr::LOCALHOST, address.port()).into())
            }
            Self::Tcp(address) => Some((Ipv4Addr::LOCALHOST, address.port()).into()),
            Self::Every(port) => Some((Ipv4Addr::LOCALHOST, *port).into()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Every(port) => write!(f, "*:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
