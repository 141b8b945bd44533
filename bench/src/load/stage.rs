//! The two ends of one load, around one epoll.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::clients::Clients;
use super::poller::{Owner, Poller, Token};
use super::server::{Mode, Server};
use super::tally::Tally;

/// Longest sleep in the epoll, so that a proxy that hangs can't hold the harness.
const WAIT_MAX: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
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

    /// Waits for events and passes them on.
    pub(super) fn turn(&mut self) -> anyhow::Result<()> {
        match epoll::wait(
            &self.poller.epoll,
            spare_capacity(&mut self.events),
            Some(&WAIT_MAX),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
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
        Ok(())
    }
}
