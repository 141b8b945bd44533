//! The kinds of visits, and what a client says first in each.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{bail, ensure};

use super::duty::{Duty, server_name};
use super::header::{self, Version};
use super::hello;

/// Clients at a time.
pub(crate) const CONCURRENCY: usize = 16;
/// Bytes of an answer, of which the first says which server it is of.
pub(crate) const ANSWER_BYTES: usize = 64;
/// Bytes that a client sends where their number is not what is measured.
const MESSAGE_BYTES: usize = 64;
/// What a message is made of.
const MESSAGE: u8 = b'c';
/// Bytes of a ClientHello of today's browsers, with a post-quantum key share.
const HELLO_BYTES: usize = 1_700;
/// Servers that names are routed to.
const ROUTED_SERVERS: usize = 10;
/// Most names: those of a configuration that a person still writes.
const NAMES_MAX: usize = 10_000;
/// Most networks in a list.
const ENTRIES_MAX: usize = 1_000_000;

/// A short connection: connect, say something, hear an answer, close. Or be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// So many bytes, to a proxy that only relays.
    Plain { bytes: usize },
    /// A ClientHello of so many bytes asks for one of so many names, by which the proxy chooses the server.
    Sni { names: usize, bytes: usize },
    /// The client's address is in a list of so many networks whose clients are not let in.
    Denied { entries: usize },
    /// The client's address is not in that list.
    Allowed { entries: usize },
    /// The client sends a header of the PROXY protocol, which the proxy reads.
    ProxyIn { version: Version },
    /// The proxy sends the server such a header.
    ProxyOut { version: Version },
}

/// What a client says first, and which server is to hear it.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) bytes: Vec<u8>,
    pub(crate) server: usize,
}

impl Visit {
    /// The kind that `text` names, with these numbers; none where it is no visit's name.
    pub(crate) fn named(text: &str, numbers: &[usize]) -> anyhow::Result<Option<Self>> {
        let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
        let (visit, numbers_max) = match text {
            "visit" => {
                let bytes = number(0, MESSAGE_BYTES);
                (Self::Plain { bytes }, 1)
            }
            "sni" => {
                let (names, bytes) = (number(0, ROUTED_SERVERS), number(1, HELLO_BYTES));
                (Self::Sni { names, bytes }, 2)
            }
            "denied" => {
                let entries = number(0, 100_000);
                (Self::Denied { entries }, 1)
            }
            "allowed" => {
                let entries = number(0, 100_000);
                (Self::Allowed { entries }, 1)
            }
            "proxy-in" => {
                let version = Version::try_from(number(0, 2))?;
                (Self::ProxyIn { version }, 1)
            }
            "proxy-out" => {
                let version = Version::try_from(number(0, 2))?;
                (Self::ProxyOut { version }, 1)
            }
            _ => return Ok(None),
        };
        ensure!(numbers.len() <= numbers_max, "too many numbers for {text}");
        visit.ensure_sizes()?;
        Ok(Some(visit))
    }

    fn ensure_sizes(self) -> anyhow::Result<()> {
        let (number, (least, most), of) = match self {
            Self::Plain { bytes } => (bytes, (1, *hello::BYTES.end()), "bytes"),
            Self::Sni { names, bytes } => {
                ensure!(
                    (1..=NAMES_MAX).contains(&names),
                    "1 to {NAMES_MAX} names, not {names}"
                );
                (bytes, hello::BYTES.into_inner(), "bytes of a ClientHello")
            }
            Self::Denied { entries } | Self::Allowed { entries } => {
                (entries, (1, ENTRIES_MAX), "networks")
            }
            Self::ProxyIn { .. } | Self::ProxyOut { .. } => return Ok(()),
        };
        if !(least..=most).contains(&number) {
            bail!("{least} to {most} {of}, not {number}");
        }
        Ok(())
    }

    /// The same to a proxy that only relays, where that can be compared.
    pub(crate) fn plain(self) -> Option<Self> {
        match self {
            Self::Plain { .. } | Self::Denied { .. } => None,
            _ => Some(Self::Plain {
                bytes: self.message_bytes(),
            }),
        }
    }

    /// Servers behind the proxy.
    pub(crate) fn servers(self) -> usize {
        match self {
            Self::Sni { .. } => ROUTED_SERVERS,
            _ => 1,
        }
    }

    /// What the proxy has to do; `servers` are behind it.
    pub(crate) fn duty(self, servers: &[SocketAddr]) -> Duty<'_> {
        match self {
            Self::Plain { .. } => Duty::Relay,
            Self::Sni { names, .. } => Duty::Route { names, servers },
            Self::Denied { entries } | Self::Allowed { entries } => Duty::Deny { entries },
            Self::ProxyIn { .. } => Duty::AcceptHeader,
            Self::ProxyOut { version } => Duty::SendHeader { version },
        }
    }

    /// Bytes of a client's that reach a server.
    pub(crate) fn message_bytes(self) -> usize {
        match self {
            Self::Plain { bytes } | Self::Sni { bytes, .. } => bytes,
            _ => MESSAGE_BYTES,
        }
    }

    /// What clients say first, in turn.
    pub(crate) fn firsts(self) -> Vec<First> {
        let message = || vec![MESSAGE; self.message_bytes()];
        let bytes = match self {
            Self::Sni { names, bytes } => {
                let first = |index| First {
                    bytes: hello::of(&server_name(index), bytes),
                    server: index % ROUTED_SERVERS,
                };
                return (0..names).map(first).collect();
            }
            // Who is not let in has nothing to say.
            Self::Denied { .. } => Vec::new(),
            Self::ProxyIn { version } => [header::of(version), message()].concat(),
            _ => message(),
        };
        vec![First { bytes, server: 0 }]
    }

    /// What the server hears first.
    pub(crate) fn begins_with(self) -> u8 {
        match self {
            Self::Sni { .. } => hello::HANDSHAKE,
            _ => MESSAGE,
        }
    }

    /// What stands below a table of it.
    pub(crate) fn note(self) -> String {
        let what = match self {
            Self::Plain { bytes } => {
                format!("A client sends {bytes} bytes, and no proxy looks at them.")
            }
            Self::Sni { names, bytes } => format!(
                "A ClientHello of {bytes} bytes, in one piece, asks for one of {names} names in turn, which the proxy routes \
                 to {ROUTED_SERVERS} servers: HAProxy by a map, nginx by `ssl_preread` and a map, corelane by a route a \
                 server. Each answer says which server it is of, and a wrong one ends the turn."
            ),
            Self::Denied { entries } => format!(
                "Clients come from 127.1.0.0/16, which is among {entries} networks that are refused: by HAProxy with \
                 `tcp-request connection reject`, by nginx with `geo`, which its documentation advises for many, by corelane \
                 with `deny`, each from a file. A unit is a connect and the proxy's close or reset."
            ),
            Self::Allowed { entries } => format!(
                "Clients come from 127.0.0.1, which is not among the {entries} networks that are refused."
            ),
            Self::ProxyIn { version } => format!(
                "A client sends a header of version {} of the PROXY protocol and its message in one piece; the server gets \
                 the message alone.",
                version.number()
            ),
            Self::ProxyOut { version } => format!(
                "The server gets a header of version {} of the PROXY protocol from the proxy, of version 1 from nginx in any \
                 case: it can send no other.",
                version.number()
            ),
        };
        let plain = match self.plain() {
            Some(plain) => format!(
                " Beside each turn the same system has one of {plain}, where it only relays; \"to relaying\" is the CPU a \
                 connection to that."
            ),
            None => String::new(),
        };
        format!("{what}{plain} {CONCURRENCY} clients at a time.")
    }
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain { bytes } => write!(f, "visit:{bytes}"),
            Self::Sni { names, bytes } => write!(f, "sni:{names}:{bytes}"),
            Self::Denied { entries } => write!(f, "denied:{entries}"),
            Self::Allowed { entries } => write!(f, "allowed:{entries}"),
            Self::ProxyIn { version } => write!(f, "proxy-in:{}", version.number()),
            Self::ProxyOut { version } => write!(f, "proxy-out:{}", version.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_asked_for() {
        let visit = Visit::named("sni", &[1_000, 320]).unwrap().unwrap();
        let firsts = visit.firsts();
        assert_eq!(firsts.len(), 1_000);
        for (index, First { bytes, server }) in firsts.iter().enumerate() {
            assert_eq!((bytes.len(), *server), (320, index % visit.servers()));
        }
    }

    #[test]
    fn what_is_compared_with_relaying_has_as_many_bytes_for_the_server() {
        for (name, numbers) in [
            ("sni", &[10, 1_700][..]),
            ("proxy-in", &[2]),
            ("allowed", &[]),
        ] {
            let visit = Visit::named(name, numbers).unwrap().unwrap();
            let plain = visit.plain().unwrap();
            assert_eq!(visit.message_bytes(), plain.message_bytes());
            assert_eq!(plain.plain(), None);
            assert!(visit.note().contains(&plain.to_string()));
        }
    }
}
