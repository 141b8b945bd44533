//! The trait, on the scripted kernel.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use proxy_core::runtime::{Attempt, Interest, Runtime, Socket, Timer};
use proxy_core::{Dial, Pipe, ServerAddress, Transport};

use super::end::{EndId, Watch};
use super::kernel::Kernel;

/// The scripted scheduler, as connections see it.
#[derive(Clone, Debug)]
pub(super) struct Handle(pub(super) Rc<RefCell<Kernel>>);

impl Handle {
    pub(super) fn socket(&self, end: EndId) -> ScriptedSocket {
        let kernel = self.0.clone();
        ScriptedSocket(ScriptedTransport(Rc::new(Open { kernel, end })))
    }
}

impl Runtime for Handle {
    type Socket = ScriptedSocket;
    type Timer = ScriptedTimer;

    fn connect(&self, address: &ServerAddress, _: Dial<'_>) -> io::Result<ScriptedSocket> {
        let server = match address {
            // A server's port is its index, and so is its path.
            ServerAddress::Tcp(address) => Some(address.port().into()),
            ServerAddress::Unix(path) => path.to_str().and_then(|path| path.parse().ok()),
        };
        let server = server.expect("an address of the stage's own");
        let end = self.0.borrow_mut().connect(server)?;
        Ok(self.socket(end))
    }

    fn watch(
        &self,
        transport: ScriptedTransport,
    ) -> Result<ScriptedSocket, (ScriptedTransport, io::Error)> {
        let mut kernel = self.0.borrow_mut();
        if kernel.refuses_watches {
            return Err((transport, io::ErrorKind::OutOfMemory.into()));
        }
        kernel.watch(transport.0.end);
        drop(kernel);
        Ok(ScriptedSocket(transport))
    }

    fn timer(&self) -> ScriptedTimer {
        ScriptedTimer {
            id: self.0.borrow_mut().tasks.add_timer(),
            kernel: self.0.clone(),
        }
    }

    fn waker(&self, _: &Context<'_>) -> Waker {
        self.0.borrow().tasks.waker()
    }
}

#[derive(Debug)]
pub(super) struct ScriptedSocket(ScriptedTransport);

/// A descriptor of an end, which others may have descriptors of, too: the last one that is closed closes it.
#[derive(Clone, Debug)]
pub(super) struct ScriptedTransport(Rc<Open>);

#[derive(Debug)]
struct Open {
    kernel: Rc<RefCell<Kernel>>,
    end: EndId,
}

impl Socket for ScriptedSocket {
    type Transport = ScriptedTransport;

    fn poll_io<T>(
        &self,
        _cx: &mut Context<'_>,
        interest: Interest,
        mut attempt: impl FnMut(&ScriptedTransport) -> io::Result<Attempt<T>>,
    ) -> Poll<io::Result<T>> {
        while self.0.check(interest) {
            match attempt(&self.0)? {
                Attempt::Done(value) => return Poll::Ready(Ok(value)),
                Attempt::Drained(value) => {
                    self.0.watch(|watch| watch.on_drained(interest));
                    return Poll::Ready(Ok(value));
                }
                Attempt::Blocked => self.0.watch(|watch| watch.on_blocked(interest)),
            }
        }
        Poll::Pending
    }

    fn assume_ready(&self, interest: Interest) {
        self.0.watch(|watch| watch.assume_ready(interest));
    }

    fn has_mark(&self) -> bool {
        self.0.watch(|watch| watch.has_mark())
    }

    fn sees_marks(&self) -> bool {
        true
    }

    fn transport(&self) -> &ScriptedTransport {
        &self.0
    }

    fn detach(self) -> ScriptedTransport {
        let open = &self.0.0;
        open.kernel.borrow_mut().unwatch(open.end);
        self.0
    }
}

impl ScriptedTransport {
    fn check(&self, interest: Interest) -> bool {
        let task = self.0.kernel.borrow().tasks.current;
        self.watch(|watch| watch.check(interest, task))
    }

    fn watch<T>(&self, with: impl FnOnce(&mut Watch) -> T) -> T {
        let mut kernel = self.0.kernel.borrow_mut();
        let watch = kernel.end(self.0.end).watch.as_mut();
        with(watch.expect("the proxy's ends are watched"))
    }
}

/// Bytes that one splice moves into a pipe: fewer than any pipe holds.
const SPLICE_BYTES_MAX: usize = 32 * 1024;

impl Transport for ScriptedTransport {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Attempt<usize>> {
        let mut kernel = self.0.kernel.borrow_mut();
        let attempt = kernel.receive(self.0.end, buffer)?;
        if attempt == Attempt::Blocked {
            kernel.receives_in_vain += 1;
        }
        Ok(attempt)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Attempt<usize>> {
        assert!(!bytes.is_empty(), "sending nothing");
        let mut kernel = self.0.kernel.borrow_mut();
        kernel.sends += 1;
        Ok(kernel.send(self.0.end, bytes)?)
    }

    fn splice_in(&self, pipe: &Pipe, count: usize) -> io::Result<Attempt<usize>> {
        let stale = pipe.peek(&mut [0; 1]);
        assert!(stale.is_err(), "the pipe has somebody's bytes in it");
        let mut bytes = vec![0; count.min(SPLICE_BYTES_MAX)];
        let attempt = self.0.kernel.borrow_mut().splice(self.0.end, &mut bytes)?;
        let (Attempt::Done(received) | Attempt::Drained(received)) = attempt else {
            return Ok(Attempt::Blocked);
        };
        assert_eq!(
            pipe.put(&bytes[..received])?,
            received,
            "the pipe was not empty"
        );
        // As with a real pipe, the count says nothing of what is left.
        Ok(Attempt::Done(received))
    }

    fn splice_out(&self, pipe: &Pipe, count: usize) -> io::Result<Attempt<usize>> {
        let mut bytes = vec![0; count];
        let held = pipe.peek(&mut bytes)?;
        let attempt = self.send(&bytes[..held])?;
        if let Attempt::Done(sent) | Attempt::Drained(sent) = attempt {
            assert_eq!(pipe.take(&mut bytes[..sent])?, sent);
        }
        Ok(match attempt {
            Attempt::Drained(sent) => Attempt::Done(sent),
            other => other,
        })
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(self.0.kernel.borrow_mut().shutdown_write(self.0.end)?)
    }

    fn take_error(&self) -> io::Result<()> {
        self.0.kernel.borrow_mut().take_error(self.0.end)
    }

    fn peek(&self) -> io::Result<Attempt<usize>> {
        Ok(self.0.kernel.borrow_mut().peek(self.0.end)?)
    }

    fn is_connected(&self) -> bool {
        self.0.kernel.borrow_mut().is_connected(self.0.end)
    }

    fn unacknowledged(&self) -> io::Result<usize> {
        Ok(self.0.kernel.borrow_mut().unacknowledged(self.0.end))
    }

    fn reset_on_close(&self) {
        self.0.kernel.borrow_mut().end(self.0.end).resets_on_close = true;
    }

    fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.0.kernel.borrow_mut().end(self.0.end).local)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.kernel.borrow_mut().close(self.end);
    }
}

#[derive(Debug)]
pub(super) struct ScriptedTimer {
    id: u64,
    kernel: Rc<RefCell<Kernel>>,
}

impl Timer for ScriptedTimer {
    fn poll_until(&mut self, _cx: &mut Context<'_>, now: Instant, deadline: Instant) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        self.kernel.borrow_mut().tasks.arm(self.id, now, deadline);
        Poll::Pending
    }
}

impl Drop for ScriptedTimer {
    fn drop(&mut self) {
        self.kernel.borrow_mut().tasks.disarm(self.id);
    }
}
