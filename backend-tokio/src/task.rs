//! The tasks: accepting, and one a connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use proxy_core::{Accepted, Acceptor, Connection, Descriptor, Listener, Turn, Worker};
use tokio::sync::watch;

use crate::socket::{Tokio, TokioSocket};
use crate::worker;

/// A connection as a task.
///
/// It is a named type, so that the compiler finds out by itself whether it is `Send`: it is, and work stealing
/// asks for it where it spawns.
pub(crate) struct ConnectionTask(Connection<Tokio>);

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match worker::with(|worker| self.0.poll(cx, &Tokio, worker)) {
            Turn::Waiting => Poll::Pending,
            Turn::Again => {
                yield_now(cx);
                Poll::Pending
            }
            Turn::Ended(_) => Poll::Ready(()),
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
    /// A stop drops the tasks that are left, on a worker: their connections are cut, and counted.
    fn drop(&mut self) {
        worker::try_with(|worker| self.0.abort(worker));
    }
}

/// Accepts until `draining` says so, and spawns a task for each connection.
pub(crate) async fn accept(
    listener: Arc<Listener>,
    socket: Descriptor,
    mut draining: watch::Receiver<bool>,
    spawn: impl Fn(ConnectionTask),
) {
    let socket = match TokioSocket::new(socket) {
        Ok(socket) => socket,
        Err((_, error)) => {
            tracing::error!(listener = listener.name, %error, "the listening socket can't be watched");
            return;
        }
    };
    let mut acceptor = Acceptor::new(&Tokio, listener, socket);
    // A sender that is gone means the same as true.
    let mut drain = pin!(async { drop(draining.wait_for(|&draining| draining).await) });
    poll_fn(|cx| {
        let more = worker::with(|worker| {
            let listener = acceptor.listener.clone();
            acceptor.poll(cx, worker, |worker, accepted| {
                if let Some(task) = begin(&listener, worker, accepted) {
                    spawn(task);
                }
            })
        });
        if more {
            yield_now(cx);
            return Poll::Pending;
        }
        // Asked after the backlog is empty: who got in before the end is served.
        drain.as_mut().poll(cx)
    })
    .await;
    // The reactor may not have told yet of who came last.
    worker::with(|worker| {
        let listener = acceptor.listener.clone();
        acceptor.finish(worker, |worker, accepted| {
            if let Some(task) = begin(&listener, worker, accepted) {
                spawn(task);
            }
        });
    });
}

fn begin(
    listener: &Arc<Listener>,
    worker: &Worker,
    Accepted { fd, origin }: Accepted,
) -> Option<ConnectionTask> {
    let permit = listener.admit(worker).ok()?;
    match TokioSocket::new(Descriptor::new(fd)) {
        Ok(client) => Some(ConnectionTask(Connection::new(
            &Tokio,
            worker,
            listener.clone(),
            permit,
            client,
            origin,
        ))),
        Err((_, error)) => {
            listener.give_up(worker.index, origin, worker.now);
            tracing::warn!(listener = listener.name, %error, "a connection can't be watched");
            None
        }
    }
}
