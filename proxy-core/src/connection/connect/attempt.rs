//! One connect to a server, until it is decided.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::runtime::{Attempt, Interest, Runtime, Socket, Timer};
use crate::socket_options::Dial;
use crate::transport::Transport;
use crate::upstream::address::ServerAddress;
use crate::upstream::addresses::Walk;
use crate::upstream::outage::Fault;
use crate::upstream::taken::Taken;
use crate::worker::Worker;

/// How soon a connect to a unix socket whose queue is full is made again. The kernel says nothing when there is room. It
/// is a quarter of the time that the connect waits already, at least this long.
pub const ROOM_RETRY_MIN: Duration = Duration::from_millis(2);

/// The same: at most this long.
pub const ROOM_RETRY_MAX: Duration = Duration::from_millis(50);

/// A connect to a server that is under way.
pub(super) struct Attempting<R: Runtime> {
    pub(super) taken: Taken,
    pub(super) waits_for: WaitsFor<R::Socket>,
    /// Its place in the pool.
    pub(super) server: usize,
    /// The server's addresses, of which the last one is tried now.
    pub(super) walk: Walk,
    pub(super) begun_at: Instant,
    pub(super) deadline: Instant,
    /// Nobody has looked at it yet.
    pub(super) is_new: bool,
}

/// What an attempt waits for.
pub(super) enum WaitsFor<S> {
    /// The kernel decides the connect.
    Decision(S),
    /// There is room in the queue of a unix socket; `retry_at` is when to look.
    Room {
        address: ServerAddress,
        retry_at: Instant,
    },
}

impl<R: Runtime> Attempting<R> {
    /// Ready once the connect is decided, or has taken too long. With an error it worked, and the server has said something
    /// and reset since. It is run again at `check_at` at the latest.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &Worker,
        timer: &mut R::Timer,
        check_at: Option<Instant>,
    ) -> Poll<io::Result<Option<io::Error>>> {
        loop {
            let wake_at = match &self.waits_for {
                WaitsFor::Decision(socket) => {
                    let is_late = self.deadline <= worker.now;
                    // On one machine the kernel has finished a connect before connect(2) returns, though that says that
                    // it is under way. And the process may have stood still until after the deadline.
                    if (std::mem::take(&mut self.is_new) || is_late)
                        && socket.transport().is_connected()
                    {
                        socket.assume_ready(Interest::Write);
                        return Poll::Ready(Ok(None));
                    }
                    let decided = if is_late {
                        // Without an error it is still under way.
                        match decision(socket.transport()) {
                            Ok(None) => Poll::Pending,
                            failed => Poll::Ready(failed),
                        }
                    } else {
                        socket.poll_io(cx, Interest::Write, |transport| {
                            decision(transport).map(Attempt::Done)
                        })
                    };
                    if decided.is_ready() {
                        return decided;
                    }
                    self.deadline
                }
                WaitsFor::Room { address, retry_at } => {
                    if *retry_at <= worker.now {
                        let address = address.clone();
                        // A unix socket has no options.
                        match open(runtime, worker, address, Dial::default(), self.begun_at) {
                            Ok(waits_for) => self.waits_for = waits_for,
                            Err(error) => return Poll::Ready(Err(error)),
                        }
                        continue;
                    }
                    self.deadline.min(*retry_at)
                }
            };
            let wake_at = check_at.map_or(wake_at, |at| at.min(wake_at));
            if timer.poll_until(cx, worker.now, wake_at).is_pending() {
                return Poll::Pending;
            }
            if self.deadline <= worker.now {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }
}

/// Begins a connect, for the first time at `begun_at`.
pub(super) fn open<R: Runtime>(
    runtime: &R,
    worker: &Worker,
    address: ServerAddress,
    dial: Dial<'_>,
    begun_at: Instant,
) -> io::Result<WaitsFor<R::Socket>> {
    match runtime.connect(&address, dial) {
        Ok(socket) => {
            if address.is_met_by(socket.transport()) {
                return Err(Errno::CONNREFUSED.into());
            }
            Ok(WaitsFor::Decision(socket))
        }
        Err(error) if address.is_full(&error) => {
            let waited = worker.now.saturating_duration_since(begun_at);
            let pause = (waited / 4).clamp(ROOM_RETRY_MIN, ROOM_RETRY_MAX);
            Ok(WaitsFor::Room {
                address,
                retry_at: worker.now + pause,
            })
        }
        Err(error) => Err(error),
    }
}

/// What became of a connect that is no longer under way: it worked; or, with the error, it worked, and the server has said
/// something and reset since.
fn decision(transport: &impl Transport) -> io::Result<Option<io::Error>> {
    match transport.take_error() {
        Ok(()) => Ok(None),
        Err(error) if has_spoken(transport, &error) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Whether a server whose connect came to this error had accepted it, said something and reset: a connect that is refused
/// has another error.
fn has_spoken(transport: &impl Transport, error: &io::Error) -> bool {
    let was_connected = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    was_connected && matches!(transport.peek(), Ok(Attempt::Done(_)))
}

/// Why a connect failed.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    /// It says nothing of the server.
    pub(super) is_ours: bool,
}

/// Whether a connect failed because this process has no descriptor or memory to spare.
pub(super) fn is_ours(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}
