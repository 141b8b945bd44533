//! Sockets and timers of the core, on a driver.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use proxy_core::runtime::{Attempt, Interest, Runtime, Socket, Timer};
use proxy_core::{Descriptor, Dial, ServerAddress};

use crate::driver::Driver;
use crate::poller::{Poller, Token};
use crate::ready::TaskKey;

/// A core, as its connections see it.
pub(crate) struct Core<P>(pub(crate) Rc<Driver<P>>);

impl<P: Poller> Runtime for Core<P> {
    type Socket = CoreSocket<P>;
    type Timer = CoreTimer<P>;

    fn connect(&self, address: &ServerAddress, dial: Dial<'_>) -> io::Result<CoreSocket<P>> {
        self.watch(Descriptor::connect(address, dial)?)
            .map_err(|(_, error)| error)
    }

    fn watch(&self, descriptor: Descriptor) -> Result<CoreSocket<P>, (Descriptor, io::Error)> {
        match self.0.watch(&descriptor) {
            Ok(token) => Ok(CoreSocket {
                descriptor: Some(descriptor),
                token,
                driver: self.0.clone(),
            }),
            Err(error) => Err((descriptor, error)),
        }
    }

    fn timer(&self) -> CoreTimer<P> {
        CoreTimer {
            driver: self.0.clone(),
            armed: None,
        }
    }

    fn waker(&self, _cx: &Context<'_>) -> Waker {
        let task = self.0.current.get();
        self.0.neighbours.borrow().waker(task)
    }
}

pub(crate) struct CoreSocket<P: Poller> {
    /// None once it is detached, which is its end.
    descriptor: Option<Descriptor>,
    token: Token,
    driver: Rc<Driver<P>>,
}

impl<P: Poller> Socket for CoreSocket<P> {
    type Transport = Descriptor;

    fn poll_io<T>(
        &self,
        _cx: &mut Context<'_>,
        interest: Interest,
        mut attempt: impl FnMut(&Descriptor) -> io::Result<Attempt<T>>,
    ) -> Poll<io::Result<T>> {
        // Between an attempt and forgetting the readiness no event can come: events are taken only when the
        // driver runs, and that is not now.
        while self.driver.check(self.token, interest) {
            match attempt(self.transport())? {
                Attempt::Done(value) => return Poll::Ready(Ok(value)),
                Attempt::Drained(value) => {
                    let mut slots = self.driver.slots.borrow_mut();
                    slots.on_drained(self.token, interest);
                    return Poll::Ready(Ok(value));
                }
                Attempt::Blocked => {
                    let mut slots = self.driver.slots.borrow_mut();
                    slots.on_blocked(self.token, interest);
                }
            }
        }
        Poll::Pending
    }

    fn assume_ready(&self, interest: Interest) {
        let mut slots = self.driver.slots.borrow_mut();
        slots.assume_ready(self.token, interest);
    }

    fn has_mark(&self) -> bool {
        self.driver.slots.borrow().has_mark(self.token)
    }

    fn sees_marks(&self) -> bool {
        P::SEES_MARKS
    }

    fn transport(&self) -> &Descriptor {
        self.descriptor.as_ref().expect(WATCHED)
    }

    fn detach(mut self) -> Descriptor {
        self.unwatch().expect(WATCHED)
    }
}

/// What every socket is until it is detached, which consumes it.
const WATCHED: &str = "a socket has its descriptor";

impl<P: Poller> CoreSocket<P> {
    fn unwatch(&mut self) -> Option<Descriptor> {
        let descriptor = self.descriptor.take()?;
        self.driver.unwatch(&descriptor, self.token);
        Some(descriptor)
    }
}

impl<P: Poller> Drop for CoreSocket<P> {
    fn drop(&mut self) {
        self.unwatch();
    }
}

pub(crate) struct CoreTimer<P> {
    driver: Rc<Driver<P>>,
    armed: Option<(Instant, TaskKey)>,
}

impl<P> Timer for CoreTimer<P> {
    fn poll_until(&mut self, _cx: &mut Context<'_>, now: Instant, deadline: Instant) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        let task = self.driver.current.get();
        // One that is armed for earlier runs the task in time; one whose time has come is armed no more.
        let serves =
            |(armed, by): (Instant, TaskKey)| by == task && now < armed && armed <= deadline;
        if !self.armed.is_some_and(serves) {
            self.disarm();
            self.driver.timers.borrow_mut().insert(deadline, task);
            self.armed = Some((deadline, task));
        }
        Poll::Pending
    }
}

impl<P> CoreTimer<P> {
    fn disarm(&mut self) {
        if let Some((deadline, task)) = self.armed.take() {
            self.driver.timers.borrow_mut().remove(deadline, task);
        }
    }
}

impl<P> Drop for CoreTimer<P> {
    fn drop(&mut self) {
        self.disarm();
    }
}
