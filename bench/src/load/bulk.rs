//! Bulk: each client sends as fast as it can; the server counts what arrives.

use std::net::SocketAddr;

use anyhow::ensure;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::clients::{Clients, connect};
use super::server::send_some;
use super::{Owner, Poller, Tally};

/// Bytes of one send.
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) struct Bulk {
    connections: usize,
    chunk: Vec<u8>,
    sockets: Vec<OwnedFd>,
}

impl Bulk {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            connections,
            chunk: vec![b'b'; CHUNK_BYTES],
            sockets: Vec::new(),
        }
    }
}

impl Clients for Bulk {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for index in 0..self.connections {
            let socket = connect(proxy)?;
            poller.add(&socket, Owner::Client, index, EventFlags::OUT)?;
            self.sockets.push(socket);
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        flags: EventFlags,
        _: &Poller,
        _: &mut Tally,
    ) -> anyhow::Result<()> {
        ensure!(
            !flags.intersects(EventFlags::HUP | EventFlags::ERR),
            "closed by the proxy"
        );
        send_some(&self.sockets[index], &self.chunk)?;
        Ok(())
    }
}
