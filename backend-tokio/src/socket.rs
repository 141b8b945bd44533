//! Sockets and timers of the core, on Tokio's reactor.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use proxy_core::runtime::{Attempt, Interest, Runtime, Socket, Timer};
use proxy_core::{Descriptor, ServerAddress};
use tokio::io::unix::AsyncFd;
use tokio::time::Sleep;

use crate::sys;

/// Tokio, as connections see it. It is nothing but a name: sockets and timers find the runtime that they are
/// made on by themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    type Socket = TokioSocket;
    type Timer = TokioTimer;

    fn connect(&self, address: &ServerAddress) -> io::Result<TokioSocket> {
        TokioSocket::new(Descriptor::connect(address)?).map_err(|(_, error)| error)
    }

    fn watch(&self, descriptor: Descriptor) -> Result<TokioSocket, (Descriptor, io::Error)> {
        TokioSocket::new(descriptor)
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer(None)
    }
}

#[derive(Debug)]
pub(crate) struct TokioSocket(AsyncFd<Descriptor>);

impl TokioSocket {
    pub(crate) fn new(descriptor: Descriptor) -> Result<Self, (Descriptor, io::Error)> {
        sys::register(descriptor).map(Self)
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
            // The guard remembers which event it saw: clearing through it can't lose a later one.
            let mut guard = ready!(match interest {
                Interest::Read => self.0.poll_read_ready(cx),
                Interest::Write => self.0.poll_write_ready(cx),
            })?;
            match attempt(self.0.get_ref())? {
                Attempt::Done(value) => return Poll::Ready(Ok(value)),
                Attempt::Drained(value) => {
                    guard.clear_ready();
                    return Poll::Ready(Ok(value));
                }
                Attempt::Blocked => guard.clear_ready(),
            }
        }
    }

    fn transport(&self) -> &Descriptor {
        self.0.get_ref()
    }

    fn detach(self) -> Descriptor {
        self.0.into_inner()
    }
}

/// A timer that is made when it is first armed, and touches the wheel again only when it fires or must fire
/// earlier.
///
/// It belongs to one task, as the connection that owns it does, so the waker that it was armed with stays good.
#[derive(Debug)]
pub(crate) struct TokioTimer(Option<Pin<Box<Sleep>>>);

impl Timer for TokioTimer {
    fn poll_until(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Instant) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        let sleep = match &mut self.0 {
            Some(sleep) => {
                let armed = sleep.deadline().into_std();
                // One that fires early is cheaper than one that is moved back each time.
                if now < armed && armed <= deadline {
                    return Poll::Pending;
                }
                sleep.as_mut().reset(deadline.into());
                sleep
            }
            unarmed => unarmed.insert(Box::pin(tokio::time::sleep_until(deadline.into()))),
        };
        // Polling it is what arms it.
        sleep.as_mut().poll(cx)
    }
}
