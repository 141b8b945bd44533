//! Where readiness comes from: the seam between the driver and the kernel.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use crate::cells::OwnRing;

/// What tells apart the descriptors that are watched. It comes back in [`Event::token`].
pub(crate) type Token = u64;

/// A change of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer ended its stream, or the connection failed.
    pub(crate) closed: bool,
    /// There is an urgent mark in what can be received.
    pub(crate) marked: bool,
    /// The kernel ended the watch by itself: [`Poller::rearm`] it.
    pub(crate) ended: bool,
}

/// A kernel object that watches descriptors for one thread and lets it sleep until one of them is ready.
///
/// Events are edges: one comes when a descriptor becomes readable or writable, and one after [`Poller::add`] if it
/// is so already.
pub(crate) trait Poller: Sized + 'static {
    /// Whether [`Event::marked`] tells of urgent marks.
    const SEES_MARKS: bool;

    /// A poller that takes about `depth` requests at once, and counts into `own`.
    fn new(depth: u32, own: OwnRing) -> io::Result<Self>;

    /// Watches `fd` until [`Poller::remove`].
    fn add(&mut self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()>;

    /// Watches again what an event said to be ended.
    fn rearm(&mut self, fd: RawFd, token: Token) -> io::Result<()>;

    /// Ends the watch. It must come before the descriptor is closed or watched elsewhere; a stale event may still come
    /// after it.
    fn remove(&mut self, fd: BorrowedFd<'_>, token: Token);

    /// Whether [`Poller::wait`] has anything to do that needs a system call, apart from sleeping.
    fn has_work(&mut self) -> bool;

    /// Reports events to `on_event`. Without one it sleeps for `timeout` at most (none: without end), and it may
    /// return early.
    fn wait(
        &mut self,
        timeout: Option<Duration>,
        on_event: &mut dyn FnMut(Event),
    ) -> io::Result<()>;

    /// Lets go of every descriptor whose watch was ended, before the poller itself is dropped.
    fn finish(&mut self) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::epoll::Epoll;
    use crate::metrics::Cells;
    use crate::readiness::Readiness;
    use crate::uring::Uring;

    /// Each wait is one system call; to begin and to end a watch are `watch_calls` more.
    fn counts_are_exact<P: Poller>(watch_calls: u64) {
        const WAKES: u64 = 5;
        let cells = Cells::new(Readiness::best(), 2);
        let mut poller = P::new(8, cells.ring_of(1)).expect("a poller");
        let fd = eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd");
        poller.add(fd.as_fd(), 7).expect("a watch");
        let (mut waits, mut events) = (0, 0);
        let mut wait = |poller: &mut P, timeout| {
            waits += 1;
            let mut found = 0;
            let waited = poller.wait(timeout, &mut |event| {
                assert_eq!((event.token, event.ended), (7, false));
                found += 1;
            });
            waited.expect("it waits");
            events += found;
            found
        };
        // It can be written from the beginning.
        while wait(&mut poller, Some(Duration::ZERO)) == 0 {}
        for _ in 0..WAKES {
            rustix::io::write(&fd, &1_u64.to_ne_bytes()).expect("room");
            assert_eq!(wait(&mut poller, None), 1);
        }
        assert_eq!(wait(&mut poller, Some(Duration::ZERO)), 0);
        poller.remove(fd.as_fd(), 7);

        let ring = cells.rings.of(1);
        assert_eq!(ring.enters.get(), waits + watch_calls);
        assert_eq!(ring.sleeps.get(), WAKES);
        assert_eq!(ring.completions.get(), events);
        assert_eq!((ring.overflows.get(), ring.rearms.get()), (0, 0));
        assert_eq!(cells.rings.of(0).enters.get(), 0);
    }

    #[test]
    fn epoll_counts_exactly() {
        counts_are_exact::<Epoll>(2);
    }

    #[test]
    fn io_uring_counts_exactly() {
        if !Uring::is_available() {
            return println!("skipped: no io_uring of Linux 6.1");
        }
        counts_are_exact::<Uring>(0);
    }
}
