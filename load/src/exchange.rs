//! Messages that come back.
//!
//! In a closed loop the next message follows the answer: as much as the proxy can. In an open loop messages have their
//! times, whatever the proxy does. A latency counts from the time at which the message was due; one whose
//! connection is still busy waits in line, and its wait counts.

use std::net::SocketAddr;
use std::time::Instant;
use std::vec::IntoIter;

use anyhow::ensure;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, recv};

use crate::clients::{Clients, Lost, begin_connect, connect};
use crate::poller::{Owner, Poller};
use crate::schedule::Schedule;
use crate::server::send_some;
use crate::tally::Tally;

/// Bytes at the beginning of a message that say whose it is, and how many came before.
const STAMP_BYTES: usize = 8;

/// The connections of an exchange.
pub struct Exchange {
    connections: usize,
    /// Connections that are open before the load starts.
    opened: IntoIter<OwnedFd>,
    /// Messages a second of all connections together; none: a closed loop.
    rate: Option<f64>,
    renewal: Option<Renewal>,
    message: Vec<u8>,
    answer: Vec<u8>,
    clients: Vec<Client>,
    schedule: Option<Schedule>,
}

/// When a client goes on in a new connection.
struct Renewal {
    /// After this many messages.
    messages: u64,
    /// Where, by client.
    addresses: Vec<SocketAddr>,
}

struct Client {
    /// None: it was lost.
    socket: Option<OwnedFd>,
    /// How many of its messages came back.
    round: u64,
    /// When the message under way was due.
    due: Option<Instant>,
    /// Bytes of it that are sent.
    sent: usize,
    /// Bytes of its echo that have come.
    received: usize,
    /// Messages that the connection has begun.
    begun: u64,
}

impl Exchange {
    /// As many messages as come back: the next one follows the answer.
    pub fn closed(connections: usize, bytes: usize) -> Self {
        Self {
            connections,
            opened: IntoIter::default(),
            rate: None,
            renewal: None,
            message: vec![b'm'; bytes],
            answer: vec![0; bytes],
            clients: Vec::new(),
            schedule: None,
        }
    }

    /// `rate` messages a second, of all connections together.
    pub fn open(connections: usize, bytes: usize, rate: f64) -> Self {
        Self {
            rate: Some(rate),
            ..Self::closed(connections, bytes)
        }
    }

    /// The same on connections that are open, and non-blocking.
    #[must_use]
    pub fn on(self, opened: Vec<OwnedFd>) -> Self {
        Self {
            connections: opened.len(),
            opened: opened.into_iter(),
            ..self
        }
    }

    /// The same, where each client goes on in a new connection to its own of `addresses` after `messages` messages.
    #[must_use]
    pub fn renewed_after(self, messages: u64, addresses: Vec<SocketAddr>) -> Self {
        let renewal = Renewal {
            messages,
            addresses,
        };
        Self {
            renewal: Some(renewal),
            ..self
        }
    }

    /// Sends client `index`'s next message if the one before is back and, in an open loop, its time has come.
    fn send_due(&mut self, index: usize, now: Instant, poller: &Poller) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        if client.due.is_some() || client.socket.is_none() {
            return Ok(());
        }
        client.due = match &self.schedule {
            Some(schedule) => schedule.intended(index, client.round),
            None => Some(now),
        };
        if client.due.is_none() {
            return Ok(());
        }
        if let Some(renewal) = &self.renewal
            && client.begun >= renewal.messages
        {
            let socket = begin_connect(renewal.addresses[index])?;
            poller.add(&socket, Owner::Client, index, EventFlags::IN)?;
            client.socket = Some(socket);
            client.begun = 0;
        }
        client.begun += 1;
        (client.sent, client.received) = (0, 0);
        client.send(&mut self.message, index, poller)
    }
}

impl Clients for Exchange {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for index in 0..self.connections {
            let socket = self.opened.next().map_or_else(|| connect(proxy), Ok)?;
            poller.add(&socket, Owner::Client, index, EventFlags::IN)?;
            self.clients.push(Client {
                socket: Some(socket),
                round: 0,
                due: None,
                sent: 0,
                received: 0,
                begun: 0,
            });
        }
        let now = Instant::now();
        match self.rate {
            Some(rate) => self.schedule = Some(Schedule::new(now, rate, self.connections)),
            None => {
                for index in 0..self.connections {
                    self.send_due(index, Instant::now(), poller)?;
                }
            }
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.schedule.as_ref().map(Schedule::due)
    }

    fn on_time(&mut self, now: Instant, poller: &Poller) -> Result<(), Lost> {
        while let Some(index) = self
            .schedule
            .as_mut()
            .and_then(|schedule| schedule.take(now))
        {
            self.send_due(index, now, poller).map_err(Lost::of(index))?;
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
            if client.sent == self.message.len()
                && let Some(socket) = &client.socket
            {
                poller.change(socket, Owner::Client, index, EventFlags::IN)?;
            }
        }
        let Some(socket) = &client.socket else {
            return Ok(());
        };
        if !flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP) {
            return Ok(());
        }
        let room = &mut self.answer[client.received..];
        let (_, bytes) = recv(socket, room, RecvFlags::empty())?;
        ensure!(bytes > 0, "closed by the proxy");
        client.received += bytes;
        if client.received == self.answer.len()
            && let Some(due) = client.due.take()
        {
            let now = Instant::now();
            tally.add_timed(now.saturating_duration_since(due));
            // A long answer may have come in pieces between those of others, so only short ones are looked at.
            let whole = bytes == self.answer.len();
            let stamp = &client.stamp(index)[..STAMP_BYTES.min(bytes)];
            ensure!(
                !whole || self.answer.starts_with(stamp),
                "the echo is another message's"
            );
            client.round += 1;
            self.send_due(index, now, poller)?;
        }
        Ok(())
    }

    fn finish(&self, now: Instant, tally: &mut Tally) {
        let Some(schedule) = &self.schedule else {
            return;
        };
        let clients = self.clients.iter().enumerate();
        for (index, client) in clients.filter(|(_, client)| client.socket.is_some()) {
            // Each has waited at least until now. Left out, they would make a proxy that hangs look quick.
            for due in (client.round..).map_while(|round| schedule.intended(index, round)) {
                tally.add_timed(now.saturating_duration_since(due));
            }
        }
    }

    fn lose(&mut self, index: usize) {
        let client = &mut self.clients[index];
        (client.socket, client.due) = (None, None);
    }
}

impl Client {
    fn stamp(&self, index: usize) -> [u8; STAMP_BYTES] {
        (((index as u64) << 48) + self.round).to_le_bytes()
    }

    /// Sends the rest of the message, and asks for room where there is too little: none, while it is being connected.
    fn send(&mut self, message: &mut [u8], index: usize, poller: &Poller) -> anyhow::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let stamp = self.stamp(index);
        let stamped = STAMP_BYTES.min(message.len());
        message[..stamped].copy_from_slice(&stamp[..stamped]);
        self.sent += send_some(socket, &message[self.sent..])?;
        if self.sent < message.len() {
            let both = EventFlags::IN | EventFlags::OUT;
            poller.change(socket, Owner::Client, index, both)?;
        }
        Ok(())
    }
}
