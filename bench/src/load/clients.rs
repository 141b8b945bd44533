//! What the loads have in common.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::{Poller, Tally};

/// The clients of one load.
pub(super) trait Clients {
    /// Opens the connections to `proxy` and begins.
    fn start(&mut self, proxy: SocketAddr, poller: &Poller) -> anyhow::Result<()>;

    /// Client `index` is ready for what `flags` say.
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

    /// That time has come.
    fn on_time(&mut self, _now: Instant, _poller: &Poller) -> anyhow::Result<()> {
        Ok(())
    }

    /// The window has ended: counts what is still under way.
    fn finish(&self, _now: Instant, _tally: &mut Tally) {}
}

/// A connected, non-blocking socket without Nagle's delay. On loopback, connect doesn't wait for an accept.
pub(crate) fn connect(proxy: SocketAddr) -> anyhow::Result<OwnedFd> {
    let stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}
