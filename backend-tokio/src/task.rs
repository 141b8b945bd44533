//! The tasks: accepting, and one a connection.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proxy_core::{
    Accepted, Acceptor, Connection, Descriptor, Draining, FIRST_TURNS_MAX, Listener,
    ListenerSettings, Transport, Turn, Worker,
};

use crate::fate::{self, Extent};
use crate::gates::Gate;
use crate::socket::{Tokio, TokioSocket};
use crate::tasks::Place;
use crate::timers::{self, Ticker};
use crate::{tasks, worker};

/// A connection as a task.
///
/// It is a named type, so that the compiler finds out by itself whether it is `Send`: it is, and work stealing
/// asks for it where it spawns.
pub(crate) struct ConnectionTask {
    connection: Connection<Tokio>,
    /// None before its first turn as a task.
    place: Option<Place>,
    /// The changes that it has seen.
    changes: u32,
    /// It is to go to another scheduler.
    is_leaving: bool,
}

impl ConnectionTask {
    pub(crate) fn new(connection: Connection<Tokio>) -> Self {
        Self {
            connection,
            place: None,
            changes: 0,
            is_leaving: false,
        }
    }

    /// Sees what has changed since its last turn.
    #[cold]
    fn on_change(&mut self, changes: u32) {
        self.changes = changes;
        worker::with(|worker| self.connection.on_change(worker));
        let place = self.place.as_ref();
        self.is_leaving = place.is_some_and(|place| place.evacuation().is_some());
    }

    /// Sends it away if it is to go. One that is being connected stays until it is, and so does one that has a turn now.
    fn leaves(&mut self) -> bool {
        if !self.is_leaving {
            return false;
        }
        let evacuation = self.place.as_ref().and_then(Place::evacuation);
        evacuation.is_some_and(|evacuation| {
            let detached = self.connection.leave(evacuation.takes_waiting());
            let leaves = detached.is_some();
            detached.into_iter().for_each(|one| evacuation.send(one));
            leaves
        })
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.place.is_none() {
            self.place = tasks::enter(cx.waker());
        }
        let changes = self.place.as_ref().map_or(0, Place::changes);
        if changes != self.changes {
            self.on_change(changes);
        }
        if self.leaves() {
            return Poll::Ready(());
        }
        match worker::with(|worker| self.connection.poll(cx, &Tokio, worker)) {
            Turn::Ended(_) => Poll::Ready(()),
            // It may have been connected just now.
            _ if self.leaves() => Poll::Ready(()),
            Turn::Waiting => Poll::Pending,
            Turn::Again => {
                yield_now(cx);
                Poll::Pending
            }
        }
    }
}

/// Has the task run again after the reactor was asked for events.
///
/// Waking it would put it back into the queue, and the reactor is asked every so many tasks only: a few bulk flows would
/// keep everybody else waiting for as many of their turns.
fn yield_now(cx: &mut Context<'_>) {
    // Its first poll tells the scheduler; the second one, which would be ready, isn't needed.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

impl Drop for ConnectionTask {
    /// A stop drops the tasks that are left, on a worker: their connections go where all are to go, as far as they can; else they
    /// are cut, and counted.
    fn drop(&mut self) {
        let evacuation = self.place.as_ref().and_then(Place::evacuation);
        if let Some(evacuation) = evacuation
            && let Some(detached) = self.connection.leave(evacuation.takes_waiting())
        {
            return evacuation.send(detached);
        }
        worker::try_with(|worker| self.connection.abort(worker));
    }
}

/// Accepts until the gate is closed, then empties the backlog, and spawns a task for each connection. The socket is
/// watched before this returns, so it must be called with the runtime around it.
///
/// # Errors
/// When the socket can't be watched.
pub(crate) fn accept(
    settings: Arc<ListenerSettings>,
    socket: Descriptor,
    mut gate: Gate,
    spawn: impl Fn(ConnectionTask),
) -> io::Result<impl Future<Output = ()>> {
    let listener = settings.listener.clone();
    let socket = TokioSocket::new(socket).map_err(|(_, error)| error)?;
    let mut acceptor = Acceptor::new(&Tokio, settings, socket);
    Ok(async move {
        let _vital = Vital(listener);
        // Spawned once the worker is free again: a runtime that stops drops what is spawned at once, and its end is to be counted.
        let mut begun = Vec::new();
        let mut closed = pin!(gate.closed());
        poll_fn(|cx| {
            // Asked first: clients that keep coming must not hold it up.
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if fate::is_lost() {
                return Poll::Pending;
            }
            let mut turns = FIRST_TURNS_MAX;
            let take = |worker: &mut Worker, accepted| {
                begun.extend(begin(&mut turns, worker, accepted));
            };
            let again = worker::with(|worker| acceptor.poll(cx, worker, take));
            begun.drain(..).for_each(&spawn);
            if again {
                yield_now(cx);
            }
            Poll::Pending
        })
        .await;
        poll_fn(|cx| {
            if fate::is_lost() {
                return Poll::Ready(());
            }
            let mut turns = FIRST_TURNS_MAX;
            let take = |worker: &mut Worker, accepted| {
                begun.extend(begin(&mut turns, worker, accepted));
            };
            let draining = worker::with(|worker| acceptor.poll_drain(cx, worker, take));
            begun.drain(..).for_each(&spawn);
            match draining {
                Draining::Again => {
                    yield_now(cx);
                    Poll::Pending
                }
                Draining::Waiting => Poll::Pending,
                Draining::Over => Poll::Ready(()),
            }
        })
        .await;
    })
}

/// A task without which nobody accepts. Tokio would keep its panic to itself.
struct Vital(Arc<Listener>);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = format!("accepting for {:?} panicked", self.0.name);
            fate::die(reason, Extent::Task);
        }
    }
}

/// Wakes the connections whose timers were armed on the current worker. Its clock is watched before this returns.
///
/// # Errors
/// When there is no descriptor for the clock, or it can't be watched.
pub(crate) fn tick() -> io::Result<Ticker> {
    Ticker::new(timers::timers())
}

/// Begins a connection, and does at once what can be done: its first bytes are not to be overtaken by those of others
/// that come later. None if it is over by that. `turns` is how many more may do so.
fn begin(turns: &mut usize, worker: &mut Worker, accepted: Accepted) -> Option<ConnectionTask> {
    let Accepted {
        socket,
        origin,
        permit,
    } = accepted;
    match TokioSocket::new(socket) {
        Ok(client) => {
            let mut connection = Connection::new(&Tokio, worker, permit, client, origin);
            let Some(left) = turns.checked_sub(1) else {
                return Some(ConnectionTask::new(connection));
            };
            *turns = left;
            // Nobody is woken by what it waits for: its own task, which is spawned now, asks again.
            match connection.poll(&mut Context::from_waker(Waker::noop()), &Tokio, worker) {
                Turn::Waiting | Turn::Again => Some(ConnectionTask::new(connection)),
                Turn::Ended(_) => None,
            }
        }
        Err((socket, error)) => {
            // It is none that the client asked for.
            socket.reset_on_close();
            let settings = permit.settings();
            settings.give_up(worker.slot(), origin, worker.now);
            let listener = &settings.listener;
            tracing::warn!(listener = listener.name, %error, "a connection can't be watched");
            None
        }
    }
}
