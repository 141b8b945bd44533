//! What the loads have in common.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::poller::Poller;
use crate::tally::Tally;

/// The clients of one load.
pub trait Clients: Send {
    /// Opens the connections to `proxy` and begins.
    ///
    /// # Errors
    /// When one can't be opened.
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()>;

    /// Client `index` is ready for what `flags` say.
    ///
    /// # Errors
    /// When its connection broke.
    fn on_event(
        &mut self,
        index: usize,
        flags: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()>;

    /// When something is to be done by the clock, if anything is.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// That time has come. It is called again for those that come after a client that is lost.
    ///
    /// # Errors
    /// The client whose connection broke.
    fn on_time(&mut self, _now: Instant, _poller: &Poller) -> Result<(), Lost> {
        Ok(())
    }

    /// The window has ended: counts what is still under way.
    fn finish(&self, _now: Instant, _tally: &mut Tally) {}

    /// Client `index` broke, and does nothing any more.
    fn lose(&mut self, _index: usize) {}
}

/// Clients that are read when their stage has ended.
impl<C: Clients + ?Sized> Clients for &mut C {
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        (**self).start(proxy, poller)
    }

    fn on_event(
        &mut self,
        index: usize,
        flags: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        (**self).on_event(index, flags, poller, tally)
    }

    fn due(&self) -> Option<Instant> {
        (**self).due()
    }

    fn on_time(&mut self, now: Instant, poller: &Poller) -> Result<(), Lost> {
        (**self).on_time(now, poller)
    }

    fn finish(&self, now: Instant, tally: &mut Tally) {
        (**self).finish(now, tally);
    }

    fn lose(&mut self, index: usize) {
        (**self).lose(index);
    }
}

/// A client whose connection broke.
#[derive(Debug)]
pub struct Lost {
    /// Which one.
    pub index: usize,
    /// How.
    pub error: anyhow::Error,
}

impl Lost {
    /// What makes of an error the loss of client `index`.
    pub fn of<E: Into<anyhow::Error>>(index: usize) -> impl FnOnce(E) -> Self {
        move |error| Self {
            index,
            error: error.into(),
        }
    }
}

/// A connected, non-blocking socket without Nagle's delay. On loopback, connect doesn't wait for an accept.
///
/// # Errors
/// What `connect(2)` returns.
pub fn connect(proxy: SocketAddr) -> anyhow::Result<OwnedFd> {
    let stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}

/// The same without waiting: there is room to send as soon as it is connected.
///
/// # Errors
/// What `connect(2)` returns at once.
pub fn begin_connect(proxy: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match proxy {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &proxy) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
