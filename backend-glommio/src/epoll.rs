//! Readiness from an edge-triggered epoll instance, for kernels before 6.1.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::cells::OwnRing;
use crate::poller::{Event, Poller, Token};

/// Events taken from the kernel by one call.
const BATCH: usize = 256;

pub(crate) struct Epoll {
    fd: OwnedFd,
    own: OwnRing,
    events: Box<[MaybeUninit<epoll::Event>; BATCH]>,
}

impl Poller for Epoll {
    const SEES_MARKS: bool = true;

    fn new(_depth: u32, own: OwnRing) -> io::Result<Self> {
        Ok(Self {
            fd: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            own,
            events: Box::new([MaybeUninit::uninit(); BATCH]),
        })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::PRI
            | epoll::EventFlags::ET;
        self.own.cells().enters.increment();
        Ok(epoll::add(
            &self.fd,
            fd,
            epoll::EventData::new_u64(token),
            flags,
        )?)
    }

    fn rearm(&mut self, _fd: RawFd, _token: Token) -> io::Result<()> {
        // epoll never ends a watch.
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>, _token: Token) {
        self.own.cells().enters.increment();
        // It can only fail for a descriptor that is not watched.
        let _ = epoll::delete(&self.fd, fd);
    }

    fn finish(&mut self) -> io::Result<()> {
        // It lets go at once.
        Ok(())
    }

    fn has_work(&mut self) -> bool {
        true
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        on_event: &mut dyn FnMut(Event),
    ) -> io::Result<()> {
        let cells = self.own.cells();
        cells.enters.increment();
        if timeout != Some(Duration::ZERO) {
            cells.sleeps.increment();
        }
        // A timeout beyond what the kernel can count is as good as none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let events = match epoll::wait(&self.fd, &mut self.events[..], timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        cells.completions.add(events.len() as u64);
        let gone = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        let closed = epoll::EventFlags::RDHUP | gone;
        for event in events.iter() {
            let flags = event.flags;
            on_event(Event {
                token: event.data.u64(),
                readable: flags.intersects(epoll::EventFlags::IN | closed),
                writable: flags.intersects(epoll::EventFlags::OUT | gone),
                closed: flags.intersects(closed),
                marked: flags.intersects(epoll::EventFlags::PRI),
                ended: false,
            });
        }
        Ok(())
    }
}
