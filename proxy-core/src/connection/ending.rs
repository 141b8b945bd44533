//! The end of a connection: it is counted and reported, and both sides are closed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::connection::attempts::Attempts;
use crate::connection::connect::NoServer;
use crate::connection::end::{Stage, Termination};
use crate::connection::{Connection, Phase, Relaying, Turn};
use crate::metrics::{Cause, Rejection};
use crate::relay::{Failure, Side};
use crate::runtime::{Runtime, Socket};
use crate::transport::Transport;
use crate::worker::Worker;

impl<R: Runtime> Connection<R> {
    /// Ends it now, with resets to both sides: for a stop that doesn't wait. Nothing happens if it is over.
    pub fn abort(&mut self, worker: &mut Worker) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.settle(worker);
        self.reset_both();
        self.end(worker, Cause::Drain);
    }

    #[cold]
    pub(super) fn end_after_panic(&mut self, worker: &mut Worker) -> Turn {
        worker.cells().panics.increment();
        tracing::error!(
            listener = self.entry.settings().listener.name,
            "a connection panicked, which is a bug: it is cut, the others go on"
        );
        // It may panic again, at what the first panic left. Then its sockets are closed when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| self.abort(worker)));
        Turn::Ended(Cause::Drain)
    }

    /// Passes on that a side is gone.
    pub(super) fn fail(&mut self, worker: &mut Worker, Failure { side, error }: Failure) -> Turn {
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

    pub(super) fn end(&mut self, worker: &mut Worker, cause: Cause) -> Turn {
        let (stage, failure) = match &self.phase {
            Phase::Relaying(relaying) => (relaying.relay.stage(), None),
            Phase::Connecting { connect, .. } if connect.is_queued() => (Stage::Queue, None),
            Phase::Connecting { connect, .. } => (Stage::Connect, connect.attempts.last_failure()),
            Phase::Prologue { .. } => (Stage::Prologue, None),
            Phase::Over => (Stage::Connect, None),
        };
        self.end_as(worker, cause, Termination::of(cause, stage, failure))
    }

    /// There is no server for it.
    pub(super) fn end_unserved(&mut self, worker: &mut Worker, no_server: NoServer) -> Turn {
        match no_server {
            NoServer::Failed => self.end(worker, Cause::ConnectFailed),
            NoServer::Lost => {
                // Its worker ends: nobody may take that for an end that somebody wanted.
                self.reset_both();
                self.end(worker, Cause::Drain)
            }
            NoServer::Full => self.reject(worker, Rejection::ServersFull),
            NoServer::Down => self.reject(worker, Rejection::ServersDown),
            NoServer::Late => {
                let termination = Termination::late();
                self.reject_as(worker, Rejection::QueueTimeout, termination)
            }
        }
    }

    /// Counts the end and tells of it, and closes both sides.
    pub(super) fn end_as(
        &mut self,
        worker: &mut Worker,
        cause: Cause,
        termination: Termination,
    ) -> Turn {
        let (attempts, tried) = match &self.phase {
            Phase::Relaying(relaying) => (relaying.attempts, None),
            Phase::Connecting { connect, .. } => (connect.attempts, connect.last_server().cloned()),
            Phase::Prologue { .. } | Phase::Over => (Attempts::default(), None),
        };
        let slot = worker.slot();
        self.entry.end(
            slot,
            cause,
            termination,
            attempts,
            tried.as_ref(),
            worker.now,
        );
        worker.cells().ended.increment();
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Connecting {
                mut connect,
                client,
            } => {
                connect.end_wait(worker, self.entry.settings());
                let pool = connect.pool(self.entry.settings());
                let cells = pool.upstream().cells.of(worker.slot());
                cells.waits_over.increment();
                if cause == Cause::ConnectFailed {
                    cells.unserved.increment();
                }
                // The server's place is given back first.
                drop(connect);
                drop(client);
            }
            Phase::Relaying(mut relaying) => relaying.relay.release(&mut worker.buffers),
            Phase::Prologue { .. } | Phase::Over => {}
        }
        Turn::Ended(cause)
    }

    pub(super) fn reset_both(&self) {
        match &self.phase {
            Phase::Prologue { client, .. } | Phase::Connecting { client, .. } => {
                client.transport().reset_on_close();
            }
            Phase::Relaying(Relaying { client, server, .. }) => {
                client.transport().reset_on_close();
                server.transport().reset_on_close();
            }
            Phase::Over => {}
        }
    }
}

impl<R: Runtime> Drop for Connection<R> {
    /// A connection that is dropped before it ended was cut: a plain close would tell both sides that they have
    /// all the bytes.
    fn drop(&mut self) {
        self.reset_both();
    }
}
