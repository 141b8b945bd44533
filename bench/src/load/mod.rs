//! The load generator and the upstream server: one thread, one epoll, so that little of their CPU is lost to
//! switching between them and the proxy is what a run is bound by.

mod bulk;
mod clients;
mod connect;
mod pingpong;
mod server;
mod tally;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};

use self::clients::Clients;
use self::server::{Mode, Server};
use self::tally::Tally;
use crate::sample::Window;
use crate::workload::Workload;

/// Longest sleep in the epoll, so that a proxy that hangs can't hold the harness.
const WAIT_MAX: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// Events fetched at once.
const EVENTS_MAX: usize = 1024;

/// When to begin measuring and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

/// The clocks read at both ends of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// CPU time of the proxy.
    pub(crate) proxy: Duration,
    /// Time for which the proxy's CPU was not idle.
    pub(crate) busy: Duration,
}

/// Puts the proxy at `proxy`, whose upstream is `upstream`, under `workload`. `clocks` is read at the start and
/// at the end of the measured window.
pub(crate) fn run(
    workload: Workload,
    proxy: SocketAddr,
    upstream: &TcpListener,
    timing: Timing,
    mut clocks: impl FnMut() -> anyhow::Result<Clocks>,
) -> anyhow::Result<Window> {
    let poller = Poller::new()?;
    let mode = if matches!(workload, Workload::Bulk { .. }) {
        Mode::Sink
    } else {
        Mode::Echo
    };
    let mut server = Server::new(upstream, mode, &poller)?;
    let mut clients: Box<dyn Clients> = match workload {
        Workload::PingPong { connections, bytes } => {
            Box::new(pingpong::PingPong::new(connections, bytes))
        }
        Workload::Bulk { connections } => Box::new(bulk::Bulk::new(connections)),
        Workload::Connect { concurrency } => Box::new(connect::Connect::new(concurrency)),
    };
    let mut tally = Tally::new();
    clients
        .start(proxy, &poller)
        .context("opening the connections")?;

    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut turn_until = |end: Instant, tally: &mut Tally| -> anyhow::Result<()> {
        while Instant::now() < end {
            match epoll::wait(&poller.epoll, spare_capacity(&mut events), Some(&WAIT_MAX)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let Token { owner, index } = Token::unpack(event.data.u64());
                match owner {
                    Owner::Server => server.on_event(index, event.flags, &poller, tally)?,
                    Owner::Client => clients
                        .on_event(index, event.flags, &poller, tally)
                        .context("a client")?,
                }
            }
        }
        Ok(())
    };

    turn_until(Instant::now() + timing.warmup, &mut tally)?;
    tally.reset();
    let (started, before) = (Instant::now(), clocks()?);
    turn_until(started + timing.measured, &mut tally)?;
    let (wall, after) = (started.elapsed(), clocks()?);

    ensure!(tally.units() > 0, "nothing came through in {wall:?}");
    let cpu = after.proxy - before.proxy;
    Ok(Window {
        wall,
        cpu,
        foreign: (after.busy - before.busy).saturating_sub(cpu),
        units: tally.units(),
        latency: workload.has_latency().then(|| tally.latency()),
    })
}

/// Whose descriptor an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Server,
    Client,
}

/// What is packed into an event's 64 bits.
#[derive(Clone, Copy, Debug)]
struct Token {
    owner: Owner,
    index: usize,
}

impl Token {
    fn pack(self) -> u64 {
        (self.index as u64) << 1 | u64::from(self.owner == Owner::Client)
    }

    fn unpack(bits: u64) -> Self {
        let owner = if bits & 1 == 1 {
            Owner::Client
        } else {
            Owner::Server
        };
        Self {
            owner,
            index: (bits >> 1) as usize,
        }
    }
}

/// An epoll whose events carry [`Token`]s; level-triggered, as that needs no second read to find a socket empty.
struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    fn add(
        &self,
        fd: impl AsFd,
        owner: Owner,
        index: usize,
        flags: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(Token { owner, index }.pack()),
            flags,
        )
    }

    fn change(
        &self,
        fd: impl AsFd,
        owner: Owner,
        index: usize,
        flags: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(Token { owner, index }.pack()),
            flags,
        )
    }
}
