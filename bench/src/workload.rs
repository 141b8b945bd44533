//! What the proxies are put to.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

use crate::visit::{Duty, Visit};

/// Most connections of a workload: two descriptors each in this process, three in the proxy's with pipes.
const CONNECTIONS_MAX: usize = 8_000;
/// Longest message; it must fit the sockets' buffers on its way, in both directions.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A kind of load, with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Each connection sends a message, waits for its echo, and begins again (a closed loop).
    PingPong { connections: usize, bytes: usize },
    /// Each connection sends as fast as it can; the server throws it away.
    Bulk { connections: usize },
    /// Bulk both ways: the server sends as fast as it can as well. Bytes of both ways count.
    Duplex { connections: usize },
    /// Connect, 64 bytes, their echo, close on both sides; so many at a time.
    Connect { concurrency: usize },
    /// Connections that passed one message and then do nothing.
    Idle { connections: usize },
    /// So many connections of bulk on one service, and of few messages as an open loop on another.
    Mix { bulk: usize, messages: usize },
    /// Short connections that ask something of the proxy besides relaying.
    Visits(Visit),
}

impl Workload {
    /// What is cheap or dear, and the factor from seconds (a unit of work) to the printed number.
    pub(crate) fn cost_unit(self) -> (&'static str, f64) {
        match self {
            Self::PingPong { .. } => ("CPU µs a round trip", 1e6),
            Self::Bulk { .. } | Self::Duplex { .. } | Self::Mix { .. } => ("CPU s a GB", 1e9),
            Self::Connect { .. } | Self::Visits(_) => ("CPU µs a connection", 1e6),
            Self::Idle { .. } => ("user bytes a connection", 1.0),
        }
    }

    /// The unit of throughput, and the factor from units of work a second to the printed number.
    pub(crate) fn rate_unit(self) -> (&'static str, f64) {
        match self {
            Self::PingPong { .. } => ("round trips/s", 1.0),
            Self::Bulk { .. } | Self::Duplex { .. } | Self::Mix { .. } => ("GB/s", 1e-9),
            Self::Connect { .. } | Self::Visits(_) => ("connections/s", 1.0),
            Self::Idle { .. } => ("kernel bytes a connection", 1.0),
        }
    }

    /// Whether the load has latencies to report.
    pub(crate) fn has_latency(self) -> bool {
        matches!(
            self,
            Self::PingPong { .. } | Self::Connect { .. } | Self::Mix { .. } | Self::Visits(_)
        )
    }

    /// Whether the work is bytes. Their cost swings with the size of the windows at the moment, so that it is
    /// taken from the middle slice of the measured window.
    pub(crate) fn is_bulk(self) -> bool {
        matches!(
            self,
            Self::Bulk { .. } | Self::Duplex { .. } | Self::Mix { .. }
        )
    }

    /// What is counted of it, where that is a number of units.
    pub(crate) fn counted(self) -> Option<Counted> {
        let counted = |units, each, name| Some(Counted { units, each, name });
        match self {
            // Every connection has its turn several times.
            Self::PingPong { connections, .. } => {
                counted(4_000.max(8 * connections as u64), 0.5, "message")
            }
            Self::Bulk { .. } | Self::Duplex { .. } => counted(128_000_000, 1e6, "MB"),
            Self::Connect { .. } => counted(1_000, 1.0, "connection"),
            Self::Idle { .. } | Self::Mix { .. } | Self::Visits(_) => None,
        }
    }

    /// Services that the proxy has for it.
    pub(crate) fn services(self) -> usize {
        if matches!(self, Self::Mix { .. }) {
            2
        } else {
            1
        }
    }

    /// Servers behind the proxy: one a service, or those that it chooses from.
    pub(crate) fn servers(self) -> usize {
        match self {
            Self::Visits(visit) => visit.servers(),
            _ => self.services(),
        }
    }

    /// What the proxy has to do besides relaying; `servers` are behind it.
    pub(crate) fn duty(self, servers: &[SocketAddr]) -> Duty<'_> {
        match self {
            Self::Visits(visit) => visit.duty(servers),
            _ => Duty::Relay,
        }
    }

    /// The same load where the proxy only relays, where it has more to do.
    pub(crate) fn plain(self) -> Option<Self> {
        match self {
            Self::Visits(visit) => visit.plain().map(Self::Visits),
            _ => None,
        }
    }
}

/// How a workload's work is counted out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// Units that tell the steady state from the start.
    pub(crate) units: u64,
    /// Units (or a part of one) that are printed as one.
    pub(crate) each: f64,
    /// What that is called.
    pub(crate) name: &'static str,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PingPong { connections, bytes } => write!(f, "pingpong:{connections}:{bytes}"),
            Self::Bulk { connections } => write!(f, "bulk:{connections}"),
            Self::Duplex { connections } => write!(f, "duplex:{connections}"),
            Self::Connect { concurrency } => write!(f, "connect:{concurrency}"),
            Self::Idle { connections } => write!(f, "idle:{connections}"),
            Self::Mix { bulk, messages } => write!(f, "mix:{bulk}:{messages}"),
            Self::Visits(visit) => visit.fmt(f),
        }
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let numbers = parts
            .map(|part| {
                part.parse()
                    .with_context(|| format!("{part:?} in {text:?} is not a number"))
            })
            .collect::<anyhow::Result<Vec<usize>>>()?;
        if let Some(visit) = Visit::named(kind, &numbers)? {
            return Ok(Self::Visits(visit));
        }
        let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
        let (workload, numbers_max) = match kind {
            "pingpong" => (
                Self::PingPong {
                    connections: number(0, 100),
                    bytes: number(1, 64),
                },
                2,
            ),
            "bulk" => (
                Self::Bulk {
                    connections: number(0, 1),
                },
                1,
            ),
            "duplex" => (
                Self::Duplex {
                    connections: number(0, 1),
                },
                1,
            ),
            "connect" => (
                Self::Connect {
                    concurrency: number(0, 16),
                },
                1,
            ),
            "idle" => (
                Self::Idle {
                    connections: number(0, 4_000),
                },
                1,
            ),
            "mix" => (
                Self::Mix {
                    bulk: number(0, 8),
                    messages: number(1, 50),
                },
                2,
            ),
            _ => bail!(
                "no workload {kind:?}; there are pingpong, bulk, duplex, connect, idle, mix, visit, sni, denied, allowed, \
                 proxy-in and proxy-out"
            ),
        };
        ensure!(numbers.len() <= numbers_max, "too many numbers in {text:?}");
        ensure!(
            (1..=CONNECTIONS_MAX).contains(&number(0, 1)),
            "1 to {CONNECTIONS_MAX} connections, not {text:?}"
        );
        if let Workload::Mix { messages, .. } = workload {
            ensure!(
                (1..=CONNECTIONS_MAX).contains(&messages),
                "1 to {CONNECTIONS_MAX} connections, not {text:?}"
            );
            return Ok(workload);
        }
        ensure!(
            (8..=MESSAGE_BYTES_MAX).contains(&number(1, 8)),
            "8 to {MESSAGE_BYTES_MAX} bytes, not {text:?}"
        );
        Ok(workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_what_it_names() {
        for text in [
            "pingpong:8:64",
            "bulk:1",
            "duplex:8",
            "connect:16",
            "idle:4000",
            "visit:64",
            "sni:1000:1700",
            "denied:100000",
            "allowed:100000",
            "proxy-in:1",
            "proxy-out:2",
        ] {
            assert_eq!(text.parse::<Workload>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "ping",
            "bulk:0",
            "bulk:x",
            "pingpong:1:4",
            "pingpong:1:64:9",
            "mix:8:0",
            "mix:8:9000",
            "bulk:9999999",
            "sni:0",
            "sni:10:100",
            "denied:0",
            "denied:9999999",
            "proxy-in:3",
            "proxy-out:2:2",
        ] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
    }
}
