//! Idle connections: each passes a message, stays while the proxy changes, and passes another one afterwards.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use proxy_load::{Clients, Lost, Poller, Tally, connect};
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::sockopt::set_socket_linger;

use super::cue::{Cue, Phase};
use super::faults::{Fault, Faults};
use super::message::{Echo, Heard, message, send_whole};

/// Connections whose first echo hasn't come yet: few enough for any accept queue.
const OPENING_MAX: usize = 64;
/// Between two batches of those that are asked again: some thousands a second, which make no queue that would be late.
const ASK_EVERY: Duration = Duration::from_millis(8);
/// How many are asked at a time.
const ASKED_MAX: usize = 64;

/// The idle connections.
pub(super) struct Idle<'a> {
    cue: &'a Cue,
    proxy: Option<SocketAddr>,
    connections: usize,
    /// When the next ones are asked again.
    next: Instant,
    clients: Vec<Client>,
    /// Those whose first echo has come.
    opened: usize,
    /// Those that were asked again.
    asked: usize,
    /// Those that have answered, or never will.
    settled: usize,
    pub(super) faults: Faults,
}

struct Client {
    /// None: it was lost.
    socket: Option<OwnedFd>,
    /// The message under way.
    round: u64,
    asked_at: Option<Instant>,
    echo: Echo,
}

impl<'a> Idle<'a> {
    pub(super) fn new(connections: usize, cue: &'a Cue) -> Self {
        Self {
            cue,
            proxy: None,
            connections,
            next: Instant::now(),
            clients: Vec::with_capacity(connections),
            opened: 0,
            asked: 0,
            settled: 0,
            faults: Faults::default(),
        }
    }

    /// Counts those that haven't answered.
    pub(super) fn settle(&mut self) {
        let silent = self.clients.iter().filter(|client| {
            client.socket.is_some() && (client.asked_at.is_some() || client.round == 0)
        });
        for _ in silent {
            self.faults.add(Fault::Late);
        }
    }

    /// Opens the next connection, if any is left.
    fn open(&mut self, poller: &Poller) -> anyhow::Result<()> {
        let Some(proxy) = self.proxy else {
            return Ok(());
        };
        let index = self.clients.len();
        if index == self.connections {
            return Ok(());
        }
        let socket = connect(proxy).with_context(|| format!("idle connection {index}"))?;
        // Ended by a reset, thousands of them leave no TIME_WAIT.
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        poller.watch(&socket, index, EventFlags::IN)?;
        let sent = send_whole(&socket, &message(index as u64, 0))?;
        ensure!(sent, "no room for a message");
        self.clients.push(Client {
            socket: Some(socket),
            round: 0,
            asked_at: Some(Instant::now()),
            echo: Echo::default(),
        });
        Ok(())
    }

    /// Asks the next one again.
    fn ask(&mut self) -> rustix::io::Result<()> {
        let index = self.asked;
        self.asked += 1;
        let client = &mut self.clients[index];
        let Some(socket) = &client.socket else {
            return Ok(());
        };
        client.round = 1;
        client.asked_at = Some(Instant::now());
        match send_whole(socket, &message(index as u64, client.round)) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.lose(index, None);
                self.faults.add_error(error)
            }
        }
    }

    fn lose(&mut self, index: usize, fault: Option<Fault>) {
        self.clients[index].socket = None;
        if let Some(fault) = fault {
            self.faults.add(fault);
        }
        self.count_settled();
    }

    fn count_settled(&mut self) {
        self.settled += 1;
        if self.settled == self.connections {
            self.cue.checked.store(true, Ordering::Relaxed);
        }
    }
}

impl Clients for Idle<'_> {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        self.proxy = Some(proxy);
        if self.connections == 0 {
            self.cue.opened.store(true, Ordering::Relaxed);
            self.cue.checked.store(true, Ordering::Relaxed);
        }
        for _ in 0..OPENING_MAX {
            self.open(poller)?;
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        (self.cue.phase() == Phase::Check && self.asked < self.clients.len()).then_some(self.next)
    }

    fn on_time(&mut self, now: Instant, _: &Poller) -> Result<(), Lost> {
        self.next = now + ASK_EVERY;
        let end = self.clients.len().min(self.asked + ASKED_MAX);
        while self.asked < end {
            let index = self.asked;
            self.ask().map_err(Lost::of(index))?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        poller: &Poller,
        _: &mut Tally,
    ) -> anyhow::Result<()> {
        let client = &mut self.clients[index];
        let Some(socket) = &client.socket else {
            return Ok(());
        };
        let message = message(index as u64, client.round);
        let heard = client.echo.receive(socket, &message)?;
        match heard {
            Heard::Part => return Ok(()),
            Heard::Fault(fault) if self.opened < self.connections => {
                bail!("idle connection {index} while it was opened: {fault:?}")
            }
            Heard::Fault(fault) => {
                self.lose(index, Some(fault));
                return Ok(());
            }
            Heard::Whole => {}
        }
        let asked_at = client.asked_at.take();
        if client.round == 0 {
            self.opened += 1;
            if self.opened == self.connections {
                self.cue.opened.store(true, Ordering::Relaxed);
            }
            return self.open(poller);
        }
        if asked_at.is_some_and(|asked_at| asked_at.elapsed() >= self.cue.late) {
            self.faults.add(Fault::Late);
        }
        self.count_settled();
        Ok(())
    }
}
