//! Bulk: each client sends as fast as it can, and so does the server where bytes go both ways. Bytes count where
//! they arrive.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use anyhow::ensure;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use crate::clients::{Clients, Lost, connect};
use crate::poller::{Owner, Poller};
use crate::server::{CHUNK_BYTES, discard, send_some};
use crate::tally::Tally;

/// How often paced flows send.
const TICK: Duration = Duration::from_millis(2);
/// Ticks that a flow can be behind: what it was kept from sending longer ago is not made up for.
const BEHIND_MAX: usize = 4;

/// Flows of bytes.
pub struct Bulk {
    connections: usize,
    /// What clients wait for: room to send, and in both ways bytes as well.
    interest: EventFlags,
    chunk: Vec<u8>,
    /// Connections that are open before the load starts.
    opened: IntoIter<OwnedFd>,
    sockets: Vec<OwnedFd>,
    pace: Option<Pace>,
}

/// What paced flows may send, and when they may send more.
struct Pace {
    bytes_per_tick: usize,
    next: Instant,
    /// Of each flow, and unsent.
    credit: Vec<usize>,
}

impl Bulk {
    /// Clients that only send.
    pub fn one_way(connections: usize) -> Self {
        Self::new(connections, EventFlags::OUT)
    }

    /// Clients on connections that are open, which only send, each at this rate at most.
    pub fn paced(opened: Vec<OwnedFd>, bytes_per_second: f64) -> Self {
        let pace = Pace {
            bytes_per_tick: (bytes_per_second * TICK.as_secs_f64()) as usize,
            next: Instant::now(),
            credit: vec![0; opened.len()],
        };
        Self {
            connections: opened.len(),
            opened: opened.into_iter(),
            pace: Some(pace),
            // The clock says when to send; a close is an event in any case.
            ..Self::new(0, EventFlags::empty())
        }
    }

    /// Clients that throw away what they get, too.
    pub fn both_ways(connections: usize) -> Self {
        Self::new(connections, EventFlags::IN | EventFlags::OUT)
    }

    fn new(connections: usize, interest: EventFlags) -> Self {
        Self {
            connections,
            interest,
            chunk: vec![b'b'; CHUNK_BYTES],
            opened: IntoIter::default(),
            sockets: Vec::new(),
            pace: None,
        }
    }
}

impl Clients for Bulk {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for index in 0..self.connections {
            let socket = self.opened.next().map_or_else(|| connect(proxy), Ok)?;
            poller.add(&socket, Owner::Client, index, self.interest)?;
            self.sockets.push(socket);
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        flags: EventFlags,
        _: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        ensure!(
            !flags.intersects(EventFlags::HUP | EventFlags::ERR),
            "closed by the proxy"
        );
        let socket = &self.sockets[index];
        if flags.contains(EventFlags::IN) {
            let bytes = discard(socket, &mut self.chunk)?;
            ensure!(bytes > 0, "closed by the proxy");
            tally.add(bytes as u64);
        }
        if flags.contains(EventFlags::OUT) {
            send_some(socket, &self.chunk)?;
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.pace.as_ref().map(|pace| pace.next)
    }

    fn on_time(&mut self, now: Instant, _: &Poller) -> Result<(), Lost> {
        let Some(pace) = &mut self.pace else {
            return Ok(());
        };
        pace.earn(now);
        let sockets = self.sockets.iter().enumerate();
        for ((index, socket), credit) in sockets.zip(&mut pace.credit) {
            while *credit > 0 {
                let most = self.chunk.len().min(*credit);
                let sent = send_some(socket, &self.chunk[..most]).map_err(Lost::of(index))?;
                match sent {
                    0 => break,
                    sent => *credit -= sent,
                }
            }
        }
        Ok(())
    }
}

impl Pace {
    /// Credit for the ticks that have come by `now`.
    fn earn(&mut self, now: Instant) {
        let mut ticks = 0;
        while self.next <= now {
            self.next += TICK;
            ticks += 1;
        }
        for credit in &mut self.credit {
            *credit = (*credit + ticks * self.bytes_per_tick).min(BEHIND_MAX * self.bytes_per_tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_earns_by_the_tick_and_not_without_end() {
        let start = Instant::now();
        let mut pace = Pace {
            bytes_per_tick: 100,
            next: start,
            credit: vec![0, 30],
        };
        pace.earn(start + TICK / 2);
        assert_eq!(pace.credit, [100, 130]);
        pace.earn(start + TICK / 2);
        assert_eq!(pace.credit, [100, 130]);
        pace.earn(start + 100 * TICK);
        assert_eq!(pace.credit, [400, 400]);
        assert_eq!(pace.next, start + 101 * TICK);
    }
}
