//! Ping-pong: each client has one message under way at any time.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::ensure;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, recv};

use super::clients::{Clients, connect};
use super::server::send_some;
use super::{Owner, Poller, Tally};

/// Clients that differ in the first eight bytes of their messages: who it is, and how many came before.
pub(super) struct PingPong {
    connections: usize,
    message: Vec<u8>,
    answer: Vec<u8>,
    clients: Vec<Client>,
}

struct Client {
    socket: OwnedFd,
    stamp: u64,
    sent_at: Instant,
    /// Bytes of the message that are sent.
    sent: usize,
    /// Bytes of its echo that have come.
    received: usize,
}

impl PingPong {
    pub(super) fn new(connections: usize, bytes: usize) -> Self {
        Self {
            connections,
            message: vec![b'p'; bytes],
            answer: vec![0; bytes],
            clients: Vec::new(),
        }
    }
}

impl Clients for PingPong {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for index in 0..self.connections {
            let socket = connect(proxy)?;
            poller.add(&socket, Owner::Client, index, EventFlags::IN)?;
            self.clients.push(Client {
                socket,
                stamp: (index as u64) << 48,
                sent_at: Instant::now(),
                sent: 0,
                received: 0,
            });
        }
        for (index, client) in self.clients.iter_mut().enumerate() {
            client.send(&mut self.message, index, poller)?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        flags: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        if flags.contains(EventFlags::OUT) {
            client.send(&mut self.message, index, poller)?;
            if client.sent == self.message.len() {
                poller.change(&client.socket, Owner::Client, index, EventFlags::IN)?;
            }
        }
        if !flags.contains(EventFlags::IN) {
            return Ok(());
        }
        let (_, bytes) = recv(
            &client.socket,
            &mut self.answer[client.received..],
            RecvFlags::empty(),
        )?;
        ensure!(bytes > 0, "closed by the proxy");
        client.received += bytes;
        if client.received == self.answer.len() {
            let now = Instant::now();
            tally.add_timed(now - client.sent_at);
            // A long answer may have come in pieces between those of others, so only short ones are looked at.
            let whole = bytes == self.answer.len();
            ensure!(
                !whole || self.answer[..8] == client.stamp.to_le_bytes(),
                "the echo is another message's"
            );
            client.stamp += 1;
            (client.sent_at, client.sent, client.received) = (now, 0, 0);
            client.send(&mut self.message, index, poller)?;
        }
        Ok(())
    }
}

impl Client {
    /// Sends the rest of the message, and asks for room where there is too little.
    fn send(&mut self, message: &mut [u8], index: usize, poller: &Poller) -> anyhow::Result<()> {
        message[..8].copy_from_slice(&self.stamp.to_le_bytes());
        self.sent += send_some(&self.socket, &message[self.sent..])?;
        if self.sent < message.len() {
            poller.change(
                &self.socket,
                Owner::Client,
                index,
                EventFlags::IN | EventFlags::OUT,
            )?;
        }
        Ok(())
    }
}
