//! What a header says about the ends of a connection.

use std::net::{Ipv6Addr, SocketAddr};

/// Bytes that a header has for the path of a unix socket.
pub const UNIX_PATH_BYTES: usize = 108;

/// The ends of a connection as the sender of a header knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses<'a> {
    /// The sender speaks for itself (LOCAL), as a health check does: the real ends of the connection count.
    Local,
    /// The sender doesn't know the ends (UNKNOWN, UNSPEC): the real ends of the connection count.
    Unknown,
    /// TCP or UDP. An IPv4 address that is written as one of IPv6 is one of IPv4, so that no rule can be evaded.
    Inet {
        /// The client.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
    /// Unix sockets, by their paths without the zeros at the end. One that begins with a zero is abstract.
    Unix {
        /// The client; mostly empty.
        source: &'a [u8],
        /// The socket that the client connected to.
        destination: &'a [u8],
    },
}

impl<'a> Addresses<'a> {
    pub(super) fn inet(source: SocketAddr, destination: SocketAddr) -> Self {
        Self::Inet {
            source: canonical(source),
            destination: canonical(destination),
        }
    }

    /// From two fields of [`UNIX_PATH_BYTES`] each.
    pub(super) fn unix(source: &'a [u8], destination: &'a [u8]) -> Self {
        Self::Unix {
            source: trimmed(source),
            destination: trimmed(destination),
        }
    }
}

/// An address as one of IPv6.
pub(super) fn as_v6(address: SocketAddr) -> Ipv6Addr {
    match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped(),
        SocketAddr::V6(address) => *address.ip(),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    &path[..end]
}
