//! Ping-pong as an open loop: messages have their times, whatever the proxy does. A latency counts from the time at
//! which the message was to be sent; one whose connection is still busy waits in line, and its wait counts.

use std::net::SocketAddr;
use std::time::Instant;
use std::vec::IntoIter;

use anyhow::ensure;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, recv};

use super::clients::{Clients, connect};
use super::schedule::Schedule;
use super::server::send_some;
use super::{Owner, Poller, Tally};

pub(super) struct OpenLoop {
    connections: usize,
    /// Connections that are open before the load starts.
    opened: IntoIter<OwnedFd>,
    rate: f64,
    message: Vec<u8>,
    answer: Vec<u8>,
    clients: Vec<Client>,
    schedule: Option<Schedule>,
}

struct Client {
    socket: OwnedFd,
    /// How many of its messages came back.
    round: u64,
    /// When the message under way was to be sent.
    intended: Option<Instant>,
    /// Bytes of it that are sent.
    sent: usize,
    /// Bytes of its echo that have come.
    received: usize,
}

impl OpenLoop {
    /// `rate` messages a second, of all connections together.
    pub(super) fn new(connections: usize, bytes: usize, rate: f64) -> Self {
        Self {
            connections,
            opened: IntoIter::default(),
            rate,
            message: vec![b'o'; bytes],
            answer: vec![0; bytes],
            clients: Vec::new(),
            schedule: None,
        }
    }

    /// The same on connections that are open.
    pub(super) fn on(opened: Vec<OwnedFd>, bytes: usize, rate: f64) -> Self {
        let new = Self::new(opened.len(), bytes, rate);
        Self {
            opened: opened.into_iter(),
            ..new
        }
    }

    /// Sends client `index`'s next message if its time has come and the one before is back.
    fn send_due(&mut self, index: usize, poller: &Poller) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        if client.intended.is_none() {
            client.intended = self
                .schedule
                .and_then(|schedule| schedule.intended(index, client.round));
            if client.intended.is_some() {
                (client.sent, client.received) = (0, 0);
                client.send(&self.message, index, poller)?;
            }
        }
        Ok(())
    }
}

impl Clients for OpenLoop {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for index in 0..self.connections {
            let socket = self.opened.next().map_or_else(|| connect(proxy), Ok)?;
            poller.add(&socket, Owner::Client, index, EventFlags::IN)?;
            self.clients.push(Client {
                socket,
                round: 0,
                intended: None,
                sent: 0,
                received: 0,
            });
        }
        self.schedule = Some(Schedule::new(Instant::now(), self.rate, self.connections));
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.schedule.as_ref().map(Schedule::due)
    }

    fn on_time(&mut self, now: Instant, poller: &Poller) -> anyhow::Result<()> {
        while let Some(index) = self
            .schedule
            .as_mut()
            .and_then(|schedule| schedule.take(now))
        {
            self.send_due(index, poller)?;
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
            client.send(&self.message, index, poller)?;
            if client.sent == self.message.len() {
                poller.change(&client.socket, Owner::Client, index, EventFlags::IN)?;
            }
        }
        if !flags.contains(EventFlags::IN) {
            return Ok(());
        }
        let room = &mut self.answer[client.received..];
        let (_, bytes) = recv(&client.socket, room, RecvFlags::empty())?;
        ensure!(bytes > 0, "closed by the proxy");
        client.received += bytes;
        if client.received == self.answer.len()
            && let Some(intended) = client.intended.take()
        {
            tally.add_timed(intended.elapsed());
            client.round += 1;
            self.send_due(index, poller)?;
        }
        Ok(())
    }

    fn finish(&self, now: Instant, tally: &mut Tally) {
        let Some(schedule) = &self.schedule else {
            return;
        };
        for (index, client) in self.clients.iter().enumerate() {
            // Each has waited at least until now. Left out, they would make a proxy that hangs look quick.
            for intended in (client.round..).map_while(|round| schedule.intended(index, round)) {
                tally.add_timed(now.saturating_duration_since(intended));
            }
        }
    }
}

impl Client {
    /// Sends the rest of the message, and asks for room where there is too little.
    fn send(&mut self, message: &[u8], index: usize, poller: &Poller) -> anyhow::Result<()> {
        self.sent += send_some(&self.socket, &message[self.sent..])?;
        if self.sent < message.len() {
            let both = EventFlags::IN | EventFlags::OUT;
            poller.change(&self.socket, Owner::Client, index, both)?;
        }
        Ok(())
    }
}
