//! The two ends of one load, around one epoll.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use crate::clients::{Clients, Lost};
use crate::poller::{Owner, Poller, Token};
use crate::server::{Mode, Server};
use crate::tally::Tally;

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
pub struct Stage<'a> {
    poller: Poller,
    server: Option<Server<'a>>,
    clients: Box<dyn Clients + 'a>,
    /// What the clients have done.
    pub tally: Tally,
    events: Vec<epoll::Event>,
    /// How long before the clients' time the thread stays awake, so that it doesn't oversleep.
    pub spin: Duration,
    /// Whether a client that breaks is counted, and the others go on; else it ends the load.
    pub tolerates_losses: bool,
}

impl<'a> Stage<'a> {
    /// Accepts at `upstream` and starts the clients, which connect to `proxy`.
    ///
    /// # Errors
    /// When there is no epoll, or a connection can't be opened.
    pub fn start(
        proxy: SocketAddr,
        upstream: &'a TcpListener,
        mode: Mode,
        clients: Box<dyn Clients + 'a>,
    ) -> anyhow::Result<Self> {
        let poller = Poller::new()?;
        let server = Server::new(upstream, mode, &poller)?;
        Self::new(poller, proxy, Some(server), clients)
    }

    /// Starts clients that connect to `proxy`; its servers are elsewhere.
    ///
    /// # Errors
    /// When there is no epoll, or a connection can't be opened.
    pub fn without_server(
        proxy: SocketAddr,
        clients: Box<dyn Clients + 'a>,
    ) -> anyhow::Result<Self> {
        Self::new(Poller::new()?, proxy, None, clients)
    }

    fn new(
        poller: Poller,
        proxy: SocketAddr,
        server: Option<Server<'a>>,
        mut clients: Box<dyn Clients + 'a>,
    ) -> anyhow::Result<Self> {
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
            tolerates_losses: false,
        })
    }

    /// Makes the server's connections end by a reset when they are dropped, which leaves no TIME_WAIT.
    ///
    /// # Errors
    /// What `setsockopt(2)` returns.
    pub fn reset_server(&self) -> rustix::io::Result<()> {
        self.server.as_ref().map_or(Ok(()), Server::reset_all)
    }

    /// Goes on for `duration`.
    ///
    /// # Errors
    /// As [`Stage::turn`].
    pub fn run_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        self.run_until(Instant::now() + duration)
    }

    /// Goes on until `end`.
    ///
    /// # Errors
    /// As [`Stage::turn`].
    pub fn run_until(&mut self, end: Instant) -> anyhow::Result<()> {
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Counts what is still under way.
    pub fn finish(&mut self) {
        self.clients.finish(Instant::now(), &mut self.tally);
    }

    /// The tally as it would be if the load ended now.
    pub(crate) fn finished(&self) -> Tally {
        let mut tally = self.tally.clone();
        self.clients.finish(Instant::now(), &mut tally);
        tally
    }

    /// Waits for events, or for the clients' time, and passes them on.
    ///
    /// # Errors
    /// When the epoll fails, or a client breaks and that is not tolerated.
    pub fn turn(&mut self) -> anyhow::Result<()> {
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
        let (poller, tally, clients) = (&self.poller, &mut self.tally, &mut *self.clients);
        for event in self.events.drain(..) {
            let Token { owner, index } = Token::unpack(event.data.u64());
            match (owner, &mut self.server) {
                (Owner::Server, Some(server)) => {
                    server.on_event(index, event.flags, poller, tally)?;
                }
                (Owner::Server, None) => {}
                (Owner::Client, _) => {
                    if let Err(error) = clients.on_event(index, event.flags, poller, tally) {
                        tolerate(self.tolerates_losses, Lost { index, error }, clients, tally)?;
                    }
                }
            }
        }
        let now = Instant::now();
        while clients.due().is_some_and(|due| due <= now) {
            match clients.on_time(now, poller) {
                Ok(()) => break,
                Err(lost) => tolerate(self.tolerates_losses, lost, clients, tally)?,
            }
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

/// Counts a client that broke, or ends the load.
fn tolerate(
    tolerates: bool,
    lost: Lost,
    clients: &mut dyn Clients,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if !tolerates {
        return Err(lost.error.context("a client"));
    }
    tracing::debug!(
        error = format!("{:#}", lost.error),
        "a client of the load broke"
    );
    tally.lose();
    clients.lose(lost.index);
    Ok(())
}
