//! Sockets and timers of the core, on Tokio's reactor.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use proxy_core::runtime::{Attempt, Interest, Lost, Runtime, Socket, Timer};
use proxy_core::{Descriptor, Dial, ServerAddress};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::fate::{self, Extent};
use crate::sys;
use crate::timers::{self, Armed};

/// Tokio, as connections see it. It is nothing but a name: sockets and timers find the runtime that they are
/// made on by themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    type Socket = TokioSocket;
    type Timer = TokioTimer;

    fn connect(&self, address: &ServerAddress, dial: Dial<'_>) -> io::Result<TokioSocket> {
        TokioSocket::new(Descriptor::connect(address, dial)?).map_err(|(_, error)| error)
    }

    fn watch(&self, descriptor: Descriptor) -> Result<TokioSocket, (Descriptor, io::Error)> {
        TokioSocket::new(descriptor)
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer(None)
    }

    fn waker(&self, cx: &Context<'_>) -> Waker {
        cx.waker().clone()
    }
}

#[derive(Debug)]
pub(crate) struct TokioSocket {
    watched: AsyncFd<Descriptor>,
    /// The next attempt is made before the reactor is asked.
    assumes_read: Cell<bool>,
    assumes_write: Cell<bool>,
}

impl TokioSocket {
    /// Has the reactor watch it. Where the reactor itself is gone, the worker is dead by that.
    pub(crate) fn new(descriptor: Descriptor) -> Result<Self, (Descriptor, io::Error)> {
        let registered = sys::register(descriptor).map_err(|(descriptor, error)| {
            // No room in it is another error. No socket will ever be watched again.
            let error = match Errno::from_io_error(&error) {
                Some(Errno::BADF | Errno::INVAL) => {
                    fate::die(format!("its reactor fails: {error}"), Extent::All);
                    Lost.into()
                }
                _ => error,
            };
            (descriptor, error)
        });
        Ok(Self {
            watched: registered?,
            assumes_read: Cell::new(false),
            assumes_write: Cell::new(false),
        })
    }

    fn assumes(&self, interest: Interest) -> &Cell<bool> {
        match interest {
            Interest::Read => &self.assumes_read,
            Interest::Write => &self.assumes_write,
        }
    }

    /// An attempt to receive found nothing: no urgent mark is ahead any more.
    fn forget_mark(&self) {
        let forget = |_: &Descriptor| Err::<(), _>(io::ErrorKind::WouldBlock.into());
        // The reactor forgets what it saw when it is told that there is nothing.
        let _ = self.watched.try_io(tokio::io::Interest::PRIORITY, forget);
    }
}

impl Socket for TokioSocket {
    type Transport = Descriptor;

    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut attempt: impl FnMut(&Descriptor) -> io::Result<Attempt<T>>,
    ) -> Poll<io::Result<T>> {
        loop {
            if self.assumes(interest).take() {
                match attempt(self.transport())? {
                    Attempt::Done(value) => {
                        self.assumes(interest).set(true);
                        return Poll::Ready(Ok(value));
                    }
                    // Bytes may be behind an urgent mark that the reactor has not told of yet: its event is still to
                    // come.
                    Attempt::Drained(value) => return Poll::Ready(Ok(value)),
                    Attempt::Blocked => {}
                }
            }
            // The guard remembers which event it saw: clearing through it can't lose a later one.
            let mut guard = ready!(match interest {
                Interest::Read => self.watched.poll_read_ready(cx),
                Interest::Write => self.watched.poll_write_ready(cx),
            })?;
            match attempt(self.transport())? {
                Attempt::Done(value) => return Poll::Ready(Ok(value)),
                Attempt::Drained(value) => {
                    if interest == Interest::Write || !self.has_mark() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(value));
                }
                Attempt::Blocked => {
                    guard.clear_ready();
                    if interest == Interest::Read && self.has_mark() {
                        self.forget_mark();
                        // Another mark may have come since the attempt, and be forgotten with it.
                        self.assumes_read.set(true);
                    }
                }
            }
        }
    }

    fn assume_ready(&self, interest: Interest) {
        self.assumes(interest).set(true);
    }

    fn has_mark(&self) -> bool {
        const PRIORITY: tokio::io::Interest = tokio::io::Interest::PRIORITY;
        // A plain load. It says yes at the end of the stream, too.
        if self.watched.try_io(PRIORITY, |_| Ok(())).is_err() {
            return false;
        }
        let ready = pin!(self.watched.ready(PRIORITY));
        let seen = ready.poll(&mut Context::from_waker(Waker::noop()));
        matches!(seen, Poll::Ready(Ok(guard)) if guard.ready().is_priority())
    }

    fn sees_marks(&self) -> bool {
        true
    }

    fn transport(&self) -> &Descriptor {
        self.watched.get_ref()
    }

    fn detach(self) -> Descriptor {
        self.watched.into_inner()
    }
}

/// A timer that is touched again only when it fires or must fire earlier.
#[derive(Debug)]
pub(crate) struct TokioTimer(Option<Armed>);

impl Timer for TokioTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Instant) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        // Before a connection has its task (`task.rs`) there is nobody to wake, and the task asks again.
        if cx.waker().will_wake(Waker::noop()) {
            return Poll::Pending;
        }
        let serves = |armed: &Armed| armed.serves(cx.waker(), now, deadline);
        // One that fires early is cheaper than one that is moved back each time.
        if !self.0.as_ref().is_some_and(serves) {
            self.0 = Some(Armed::new(timers::timers(), deadline, cx.waker()));
        }
        Poll::Pending
    }
}
