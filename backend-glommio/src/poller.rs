//! Where readiness comes from: the seam between the driver and the kernel.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

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
    /// The kernel ended the watch by itself: [`Poller::rearm`] it.
    pub(crate) ended: bool,
}

/// A kernel object that watches descriptors for one thread and lets it sleep until one of them is ready.
///
/// Events are edges: one comes when a descriptor becomes readable or writable, and one after [`Poller::add`] if it
/// is so already.
pub(crate) trait Poller: Sized + 'static {
    /// A poller of which about `depth` requests may be under way at once.
    fn new(depth: u32) -> io::Result<Self>;

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
