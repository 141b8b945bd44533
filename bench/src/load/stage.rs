//! The two ends of one load, around one epoll.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use super::clients::Clients;
use super::poller::{Owner, Poller, Token};
use super::server::{Mode, Server};
use super::tally::Tally;

/// Longest sleep in the epoll, so that a proxy that hangs can't hold the harness.
const WAIT_MAX: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// A look without a sleep.
const NO_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// Events fetched at once.
const EVENTS_MAX: usize = 1024;

/// Clients, the server that they reach through the proxy, and what they have done.
pub(super) struct Stage<'a> {
    poller: Poller,
    pub(super) server: Server<'a>,
    clients: Box<dyn Clients>,
    pub(super) tally: Tally,
    events: Vec<epoll::Event>,
    /// How long before the clients' time the thread stays awake, so that it doesn't oversleep.
    pub(super) spin: Duration,
}

impl<'a> Stage<'a> {
    /// Accepts at `upstream` and sets the clients going at `proxy`.
    pub(super) fn start(
        proxy: SocketAddr,
        upstream: &'a TcpListener,
        mode: Mode,
        mut clients: Box<dyn Clients>,
    ) -> anyhow::Result<Self> {
        let poller = Poller::new()?;
        let server = Server::new(upstream, mode, &poller)?;
        clients
            .start(proxy, &poller)
            .context("opening the connections")?;
        Ok(Self {
            poller,
            server,
            clients,
            tally: Tally::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            spin: Duration::ZERO,
        })
    }

    /// Goes on for `duration`.
    pub(super) fn run_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        self.run_until(Instant::now() + duration)
    }

    /// Goes on until `end`.
    pub(super) fn run_until(&mut self, end: Instant) -> anyhow::Result<()> {
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Counts what is still under way.
    pub(super) fn finish(&mut self) {
        self.clients.finish(Instant::now(), &mut self.tally);
    }

    /// Waits for events, or for the clients' time, and passes them on.
    pub(super) fn turn(&mut self) -> anyhow::Result<()> {
        let wait = match self.clients.due() {
            None => WAIT_MAX,
            Some(due) => {
                self.sleep_until(due)?;
                NO_WAIT
            }
        };
        let room = spare_capacity(&mut self.events);
        match epoll::wait(&self.poller.epoll, room, Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (poller, tally) = (&self.poller, &mut self.tally);
        for event in self.events.drain(..) {
            let Token { owner, index } = Token::unpack(event.data.u64());
            match owner {
                Owner::Server => self.server.on_event(index, event.flags, poller, tally)?,
                Owner::Client => self
                    .clients
                    .on_event(index, event.flags, poller, tally)
                    .context("a client")?,
            }
        }
        let now = Instant::now();
        if self.clients.due().is_some_and(|due| due <= now) {
            self.clients.on_time(now, poller).context("a client")?;
        }
        Ok(())
    }

    /// Sleeps until there is an event or `due` is near. It is poll that sleeps, as epoll_wait counts milliseconds.
    fn sleep_until(&self, due: Instant) -> anyhow::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        let Some(sleep) = left.checked_sub(self.spin).filter(|left| !left.is_zero()) else {
            return Ok(());
        };
        let sleep = Timespec::try_from(sleep).unwrap_or(WAIT_MAX).min(WAIT_MAX);
        let mut fds = [PollFd::new(&self.poller.epoll, PollFlags::IN)];
        match poll(&mut fds, Some(&sleep)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
