//! Busy connections: each has a message every few milliseconds, and remembers the longest that one took.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use proxy_load::{Clients, Lost, Poller, Tally, connect};
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::cue::{Cue, Phase, due};
use super::faults::{Fault, Faults};
use super::message::{Echo, Heard, message, send_whole};
use super::pauses::shortest_first;

/// An open loop on connections that stay: what a connection waits for, from when a message was due until its echo is
/// here, is its pause.
pub(super) struct Busy<'a> {
    cue: &'a Cue,
    /// Messages a second of all connections.
    per_second: f64,
    start: Instant,
    /// Messages that have come due.
    taken: u64,
    clients: Vec<Client>,
    pub(super) faults: Faults,
}

#[derive(Default)]
struct Client {
    /// None: it was lost.
    socket: Option<OwnedFd>,
    /// How many of its messages came back.
    round: u64,
    /// When the message under way was due.
    due: Option<Instant>,
    echo: Echo,
    /// Before the change, and from then on.
    longest: [Duration; 2],
}

impl<'a> Busy<'a> {
    /// So many connections, with a message each `every`.
    pub(super) fn new(connections: usize, every: Duration, cue: &'a Cue) -> Self {
        let mut clients = Vec::new();
        clients.resize_with(connections, Client::default);
        Self {
            cue,
            per_second: connections as f64 / every.as_secs_f64(),
            start: Instant::now(),
            taken: 0,
            clients,
            faults: Faults::default(),
        }
    }

    /// The longest pauses before the change and from then on, each connection's, the shortest first.
    pub(super) fn pauses(&self) -> [Vec<Duration>; 2] {
        shortest_first(self.clients.iter().map(|client| client.longest))
    }

    /// Counts what is still under way at the end.
    pub(super) fn settle(&mut self, now: Instant) {
        for client in &mut self.clients {
            let (Some(_), Some(due)) = (&client.socket, client.due) else {
                continue;
            };
            let waited = now.saturating_duration_since(due);
            client.longest[1] = client.longest[1].max(waited);
            if waited >= self.cue.late {
                self.faults.add(Fault::Late);
            }
        }
    }

    /// Sends the connection's next message if its time has come and the one before is back.
    fn send(&mut self, index: usize) -> rustix::io::Result<()> {
        let count = self.clients.len() as u64;
        let client = &mut self.clients[index];
        let next = client.round * count + index as u64;
        let Some(socket) = &client.socket else {
            return Ok(());
        };
        if client.due.is_some() || next >= self.taken {
            return Ok(());
        }
        client.due = Some(due(self.start, self.per_second, next));
        match send_whole(socket, &message(index as u64, client.round)) {
            Ok(true) => Ok(()),
            // One message of 64 bytes always has room.
            Ok(false) => Err(Errno::NOBUFS),
            Err(error) => {
                client.socket = None;
                self.faults.add_error(error)
            }
        }
    }
}

impl Clients for Busy<'_> {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for (index, client) in self.clients.iter_mut().enumerate() {
            let socket = connect(proxy)?;
            poller.watch(&socket, index, EventFlags::IN)?;
            client.socket = Some(socket);
        }
        self.start = Instant::now();
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        (self.cue.phase() < Phase::Closing && !self.clients.is_empty())
            .then(|| due(self.start, self.per_second, self.taken))
    }

    fn on_time(&mut self, now: Instant, _: &Poller) -> Result<(), Lost> {
        while self.due().is_some_and(|due| due <= now) {
            let index = (self.taken % self.clients.len() as u64) as usize;
            self.taken += 1;
            let sent = self.send(index).context("sending a message");
            sent.map_err(Lost::of(index))?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        _: &Poller,
        _: &mut Tally,
    ) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let Some(socket) = &client.socket else {
            return Ok(());
        };
        let message = message(index as u64, client.round);
        match client.echo.receive(socket, &message)? {
            Heard::Part => return Ok(()),
            Heard::Whole => {}
            Heard::Fault(fault) => {
                self.faults.add(fault);
                client.socket = None;
                return Ok(());
            }
        }
        // An echo of nothing that was sent would have been wrong.
        if let Some(due) = client.due.take()
            && let Some(window) = self.cue.window()
        {
            client.longest[window] = client.longest[window].max(due.elapsed());
        }
        client.round += 1;
        Ok(self.send(index)?)
    }
}
