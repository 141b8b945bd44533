//! One connection, from accept to close, as one value.
//!
//! Everything that a connection is stands in [`Connection`]: two descriptors, the relay's state, a timer. It is
//! run by whoever owns it, so it can be handed to another core between two runs.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::connect::{Connect, Connected};
use crate::listener::{Listener, Permit};
use crate::metrics::Cause;
use crate::relay::{Failure, Relay, Side, State};
use crate::runtime::{Runtime, Socket, Timer};
use crate::transport::Transport;
use crate::worker::Worker;

/// How often a side that is not being read, as the other one is stalled or as its end was read, is looked at for a
/// reset.
pub const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A client's connection and what is done for it.
pub struct Connection<R: Runtime> {
    listener: Arc<Listener>,
    client: R::Socket,
    phase: Phase<R>,
    timer: R::Timer,
    accepted_at: Instant,
    last_byte_at: Instant,
    stall_check_at: Option<Instant>,
    /// The worker that ran it last.
    core: usize,
    ended: bool,
    _permit: Permit,
}

enum Phase<R: Runtime> {
    Connecting(Connect<R>),
    Relaying {
        server: R::Socket,
        index: usize,
        relay: Relay,
    },
}

/// What a run of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It waits for a descriptor or its timer: the scheduler knows which.
    Waiting,
    /// It has more to do, and others are to have their turn first.
    Again,
    /// It is over and counted: drop it.
    Ended(Cause),
}

impl<R: Runtime> Connection<R> {
    /// A connection that `listener` admitted, on the worker that will run it first.
    pub fn new(
        runtime: &R,
        worker: &Worker,
        listener: Arc<Listener>,
        permit: Permit,
        client: R::Socket,
    ) -> Self {
        worker.cells().started.increment();
        Self {
            phase: Phase::Connecting(Connect::new()),
            listener,
            client,
            timer: runtime.timer(),
            accepted_at: worker.now,
            last_byte_at: worker.now,
            stall_check_at: None,
            core: worker.index,
            ended: false,
            _permit: permit,
        }
    }

    /// Does what can be done now.
    ///
    /// After [`Turn::Ended`] it must not be run again.
    pub fn poll(&mut self, cx: &mut Context<'_>, runtime: &R, worker: &mut Worker) -> Turn {
        self.settle(worker);
        if let Phase::Connecting(connect) = &mut self.phase {
            match connect.poll(
                cx,
                runtime,
                worker,
                &self.listener.upstream,
                &mut self.timer,
            ) {
                Poll::Pending => return Turn::Waiting,
                Poll::Ready(None) => return self.end(worker, Cause::ConnectFailed),
                Poll::Ready(Some(Connected { socket, index })) => {
                    self.last_byte_at = worker.now;
                    self.phase = Phase::Relaying {
                        server: socket,
                        index,
                        relay: Relay::new(self.listener.splice),
                    };
                }
            }
        }
        let turn = self.relay(cx, worker);
        if turn == Turn::Waiting {
            self.wait(cx, worker)
        } else {
            turn
        }
    }

    /// Ends it now, with resets to both sides: for a stop that doesn't wait. Nothing happens if it is over.
    pub fn abort(&mut self, worker: &mut Worker) {
        if self.ended {
            return;
        }
        self.settle(worker);
        self.reset_both();
        self.end(worker, Cause::Drain);
    }

    fn reset_both(&self) {
        self.client.transport().reset_on_close();
        if let Phase::Relaying { server, .. } = &self.phase {
            server.transport().reset_on_close();
        }
    }

    /// Counts the run, and a move since the last one.
    fn settle(&mut self, worker: &Worker) {
        let cells = worker.cells();
        cells.polls.increment();
        worker.activity.note();
        if self.core != worker.index {
            cells.taken_from[self.core].increment();
            self.core = worker.index;
        }
    }

    fn relay(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Turn {
        let Phase::Relaying { server, relay, .. } = &mut self.phase else {
            return Turn::Waiting;
        };
        let progress = relay.poll(cx, &mut worker.buffers, &self.client, server);
        if progress.up + progress.down > 0 {
            let cells = self.listener.cells.of(worker.index);
            cells.bytes_in.add(progress.up);
            cells.bytes_out.add(progress.down);
            cells.bytes_spliced.add(progress.spliced);
            self.last_byte_at = worker.now;
        }
        match progress.state {
            State::Waiting => Turn::Waiting,
            State::Again => Turn::Again,
            State::Finished => self.end(worker, Cause::Finished),
            State::Failed(failure) => self.fail(worker, failure),
        }
    }

    /// Arms the timer, or acts on it.
    fn wait(&mut self, cx: &mut Context<'_>, worker: &mut Worker) -> Turn {
        let Phase::Relaying { server, relay, .. } = &self.phase else {
            return Turn::Waiting;
        };
        let idle_at = self
            .listener
            .idle_timeout
            .map(|timeout| self.last_byte_at + timeout);
        if idle_at.is_some_and(|at| at <= worker.now) {
            if relay.holds_bytes() {
                // An orderly end would tell the side that they are for that it has everything.
                self.reset_both();
            }
            return self.end(worker, Cause::IdleTimeout);
        }
        if !relay.has_unread_side() {
            self.stall_check_at = None;
        } else if self.stall_check_at.is_none_or(|at| at <= worker.now) {
            if self.stall_check_at.is_some()
                && let Err(failure) = relay.check_unread(&self.client, server)
            {
                return self.fail(worker, failure);
            }
            self.stall_check_at = Some(worker.now + STALL_CHECK_INTERVAL);
        }
        if let Some(deadline) = [idle_at, self.stall_check_at].into_iter().flatten().min() {
            // Neither deadline has passed, so this only arms.
            let _ = self.timer.poll_until(cx, worker.now, deadline);
        }
        Turn::Waiting
    }

    /// Passes on that a side is gone.
    fn fail(&mut self, worker: &mut Worker, Failure { side, error }: Failure) -> Turn {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        self.reset_both();
        let reset = matches!(
            error.kind(),
            ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected
        );
        let cause = match (side, reset) {
            (Side::Client, true) => Cause::ClientReset,
            (Side::Server, true) => Cause::ServerReset,
            (Side::Client, false) => Cause::ClientError,
            (Side::Server, false) => Cause::ServerError,
        };
        self.end(worker, cause)
    }

    fn end(&mut self, worker: &mut Worker, cause: Cause) -> Turn {
        self.ended = true;
        let cells = self.listener.cells.of(worker.index);
        cells.ended[cause as usize].increment();
        cells
            .duration
            .observe(worker.now.saturating_duration_since(self.accepted_at));
        worker.cells().ended.increment();
        let upstream = self.listener.upstream.cells.of(worker.index);
        match &mut self.phase {
            Phase::Connecting(connect) => connect.abandon(upstream),
            Phase::Relaying { index, relay, .. } => {
                upstream.servers[*index].closed.increment();
                relay.release(&mut worker.buffers);
            }
        }
        Turn::Ended(cause)
    }
}

impl<R: Runtime> Drop for Connection<R> {
    /// A connection that is dropped before it ended was cut: a plain close would tell both sides that they have
    /// all the bytes.
    fn drop(&mut self) {
        if !self.ended {
            self.reset_both();
        }
    }
}
