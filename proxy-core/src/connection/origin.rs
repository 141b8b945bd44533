//! Who a client is, as accepting it tells.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

/// Where a connection comes from, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who has connected: the client, or a balancer that may announce one.
    pub peer: ClientAddress,
    /// The time of the worker that accepted it.
    pub accepted_at: Instant,
}

/// A client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// TCP over IPv4 or IPv6. A client over IPv4 of a socket that has both is one over IPv4.
    Tcp(SocketAddr),
    /// A client of a unix socket, which has no address of its own.
    Unix,
}

impl ClientAddress {
    /// The address that accept(2) told; none is a unix socket's.
    pub(crate) fn of(address: Option<SocketAddr>) -> Self {
        match address {
            Some(address) => {
                Self::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
            }
            None => Self::Unix,
        }
    }

    /// The address of a client of TCP.
    pub(crate) fn tcp(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_people_know_them() {
        for (told, written) in [
            (Some("10.0.0.1:7"), "10.0.0.1:7"),
            (Some("[::ffff:10.0.0.1]:7"), "10.0.0.1:7"),
            (Some("[2001:db8::1]:7"), "[2001:db8::1]:7"),
            (None, "unix"),
        ] {
            let address = told.map(|told| told.parse().expect("an address"));
            assert_eq!(ClientAddress::of(address).to_string(), written);
        }
    }
}
