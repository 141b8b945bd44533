//! What a relay relays: from where it accepts to where it connects.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// A listener, and the upstream of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where the relay accepts.
    pub listen: SocketAddr,
    /// Where it connects to.
    pub upstream: SocketAddr,
}

/// Where a server of a library accepts, and what it does with the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post {
    pub(crate) listen: SocketAddr,
    /// Where they go; none: back to where they came from.
    pub(crate) upstream: Option<SocketAddr>,
    /// Whether others listen there too (`SO_REUSEPORT`).
    pub(crate) shared: bool,
}

impl From<Service> for Post {
    fn from(Service { listen, upstream }: Service) -> Self {
        Self {
            listen,
            upstream: Some(upstream),
            shared: false,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.listen, self.upstream)
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            text.parse()
                .map_err(|_| format!("{text:?} is no address with a port"))
        };
        let (listen, upstream) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not LISTEN=UPSTREAM"))?;
        Ok(Self {
            listen: address(listen)?,
            upstream: address(upstream)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_reads_back_as_what_it_is() {
        for text in ["127.0.0.1:1=127.0.0.1:2", "[::1]:1=10.0.0.1:65535"] {
            assert_eq!(text.parse::<Service>().unwrap().to_string(), text);
        }
        for text in ["", "127.0.0.1:1", "127.0.0.1:1=", "127.0.0.1:1=127.0.0.1"] {
            assert!(text.parse::<Service>().is_err(), "{text}");
        }
    }
}
