//! The one trait: what a scheduler lends to the forwarding logic.
//!
//! A scheduler brings readiness, timers and new descriptors; the core does the system calls itself, once, for
//! every scheduler. `Send` is never asked for here: a scheduler that moves connections between threads asks for
//! it where it spawns, and the compiler infers it from the scheduler's own types.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::socket_options::Dial;
use crate::transport::Transport;

pub use crate::attempt::Attempt;
use crate::upstream::address::ServerAddress;

/// A scheduler, as one worker's connections see it.
pub trait Runtime {
    /// A descriptor that this scheduler watches. Dropping it stops the watch and closes the descriptor.
    type Socket: Socket;
    /// A timer of this scheduler. Dropping it disarms it.
    type Timer: Timer;

    /// Starts a connection to `address` without waiting for it: the socket becomes writable once it is decided.
    ///
    /// # Errors
    /// What `socket(2)`, `setsockopt(2)`, `connect(2)` and the scheduler's registration return, `EINPROGRESS` excepted. [`Lost`] where
    /// the worker can watch nothing any more.
    fn connect(&self, address: &ServerAddress, dial: Dial<'_>) -> io::Result<Self::Socket>;

    /// Watches a descriptor that is connected already and that no scheduler watches. What it is ready for now comes as
    /// readiness, too.
    ///
    /// # Errors
    /// What the scheduler's registration returns, and the descriptor, open.
    fn watch(
        &self,
        transport: TransportOf<Self>,
    ) -> Result<Self::Socket, (TransportOf<Self>, io::Error)>;

    /// A timer that is not armed.
    fn timer(&self) -> Self::Timer;

    /// Has the connection that runs now, with this context, run again: from any thread, and for nothing if it is over or has moved
    /// meanwhile.
    fn waker(&self, cx: &Context<'_>) -> Waker;
}

/// The worker's own source of readiness is gone: it can watch nothing any more, and is dead by that. What fails for it says nothing
/// of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker's source of readiness is gone")]
pub struct Lost;

impl Lost {
    /// Whether an error is this one.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        Self::other(lost)
    }
}

/// What a scheduler's sockets make their system calls on.
pub type TransportOf<R> = <<R as Runtime>::Socket as Socket>::Transport;

/// Which readiness a system call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes, the end of the stream, an error, or (on a listening socket) a connection.
    Read,
    /// Room to send, a decided connect, or an error.
    Write,
}

/// A descriptor with readiness.
pub trait Socket {
    /// What the system calls are made on.
    type Transport: Transport;

    /// Runs `attempt` when the descriptor may be ready. Returns `Pending` when it is not; the task that `cx` (or
    /// the scheduler's notion of the current task) stands for is then run again once it is.
    ///
    /// Readiness is edge-like: it is forgotten when an attempt says so and by nothing else. Forgetting and
    /// attempting are one operation, since a readiness that arrives between the two must not be lost.
    ///
    /// # Errors
    /// What `attempt` returns, or what the scheduler's source of readiness does.
    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        attempt: impl FnMut(&Self::Transport) -> io::Result<Attempt<T>>,
    ) -> Poll<io::Result<T>>;

    /// Has the next attempt for `interest` made whatever is known of readiness: where the kernel may know more than the
    /// scheduler has heard of. Readiness that the attempt doesn't find is waited for as ever.
    fn assume_ready(&self, interest: Interest);

    /// Whether an urgent mark (`MSG_OOB`) may be ahead of the next byte, or behind a few more. A receive stops short of
    /// the mark and goes on behind it with the next call; a splice stays before it for ever. While it is true,
    /// [`Attempt::Drained`] means no more than [`Attempt::Done`] for receives; it is over once a receive is
    /// [`Attempt::Blocked`].
    fn has_mark(&self) -> bool;

    /// Whether [`Socket::has_mark`] can be true. Where the scheduler isn't told of marks, a connection that has fallen silent
    /// is looked at once.
    fn sees_marks(&self) -> bool;

    /// The descriptor, for calls that need no readiness (options, shutdown).
    fn transport(&self) -> &Self::Transport;

    /// Stops the watch and gives the descriptor out, open: for [`Runtime::watch`] on another worker.
    fn detach(self) -> Self::Transport;
}

/// One deadline a task waits for.
pub trait Timer {
    /// Ready when `deadline` is not after `now`; otherwise the task is run again at or before `deadline`.
    ///
    /// It may be run too early: the caller works out its deadline again and asks again. So a deadline that only
    /// moves back, such as an idle timeout, costs nothing while bytes flow.
    fn poll_until(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Instant) -> Poll<()>;
}
