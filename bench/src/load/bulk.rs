//! Bulk: each client sends as fast as it can, and so does the server where bytes go both ways. Bytes count where
//! they arrive.

use std::net::SocketAddr;

use anyhow::ensure;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::clients::{Clients, connect};
use super::server::{CHUNK_BYTES, discard, send_some};
use super::{Owner, Poller, Tally};

pub(super) struct Bulk {
    connections: usize,
    /// What clients wait for: room to send, and in both ways bytes as well.
    interest: EventFlags,
    chunk: Vec<u8>,
    sockets: Vec<OwnedFd>,
}

impl Bulk {
    /// Clients that only send.
    pub(super) fn one_way(connections: usize) -> Self {
        Self::new(connections, EventFlags::OUT)
    }

    /// Clients that throw away what they get, too.
    pub(super) fn both_ways(connections: usize) -> Self {
        Self::new(connections, EventFlags::IN | EventFlags::OUT)
    }

    fn new(connections: usize, interest: EventFlags) -> Self {
        Self {
            connections,
            interest,
            chunk: vec![b'b'; CHUNK_BYTES],
            sockets: Vec::new(),
        }
    }
}

impl Clients for Bulk {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for index in 0..self.connections {
            let socket = connect(proxy)?;
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
}
