//! Idle connections: each passes one message, so that it is set up on both sides of the proxy, and stays.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, recv};

use crate::clients::{Clients, connect};
use crate::poller::{Owner, Poller};
use crate::server::send_some;
use crate::tally::Tally;

/// Bytes of the message.
const MESSAGE_BYTES: usize = 64;
/// Connections whose echo hasn't come yet: few enough for any accept queue.
const OPENING_MAX: usize = 64;

/// Clients that open one connection after the other.
pub struct Idle {
    proxy: SocketAddr,
    connections: usize,
    sockets: Vec<OwnedFd>,
}

impl Idle {
    /// So many to `proxy`.
    pub fn new(connections: usize, proxy: SocketAddr) -> Self {
        Self {
            proxy,
            connections,
            sockets: Vec::with_capacity(connections),
        }
    }

    /// Opens the next connection, if any is left.
    fn open(&mut self, poller: &Poller) -> anyhow::Result<()> {
        let index = self.sockets.len();
        if index == self.connections {
            return Ok(());
        }
        let socket = connect(self.proxy).with_context(|| format!("connection {index}"))?;
        // Ended by a reset, it leaves no TIME_WAIT to the next turn's kernel memory.
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        poller.add(&socket, Owner::Client, index, EventFlags::IN)?;
        let sent = send_some(&socket, &[b'i'; MESSAGE_BYTES])?;
        ensure!(sent == MESSAGE_BYTES, "no room for {MESSAGE_BYTES} bytes");
        self.sockets.push(socket);
        Ok(())
    }
}

impl Clients for Idle {
    fn start(&mut self, _: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for _ in 0..OPENING_MAX {
            self.open(poller)?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let mut echo = [0; MESSAGE_BYTES];
        let (_, bytes) = recv(&self.sockets[index], &mut echo, RecvFlags::empty())?;
        ensure!(bytes > 0, "connection {index} closed by the proxy");
        ensure!(
            bytes == MESSAGE_BYTES,
            "{bytes} bytes of the echo on connection {index}"
        );
        tally.add(1);
        self.open(poller)
    }
}
