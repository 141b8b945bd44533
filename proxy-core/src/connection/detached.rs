//! A connection between two workers.

use std::time::Instant;

use crate::connection::attempts::Attempts;
use crate::connection::end::Termination;
use crate::connection::live::Entry;
use crate::listener::Permit;
use crate::metrics::{Cause, CoreCells};
use crate::relay::Relay;
use crate::transport::Transport;

/// A connection that one worker has let go of and another one is to take: its two descriptors, the relay's state, at
/// most one buffer or pipe a direction, and nothing of a scheduler's. So it may go from thread to thread.
///
/// [`Connection::attach`](crate::Connection::attach) makes it a connection again. Dropping it resets both sides.
#[derive(Debug)]
pub struct Detached<T: Transport>(Option<Box<Parts<T>>>);

/// What a connection is, wherever it is.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    pub(crate) entry: Entry,
    pub(crate) client: T,
    pub(crate) server: T,
    /// Which of the upstream's servers it is.
    pub(crate) index: u32,
    pub(crate) attempts: Attempts,
    pub(crate) relay: Relay,
    pub(crate) last_byte_at: Instant,
    pub(crate) stall_check_at: Option<Instant>,
    /// The worker that ran it last.
    pub(crate) core: u32,
    /// How often it was attached to another worker.
    pub(crate) moves: u32,
    pub(crate) permit: Permit,
}

impl<T: Transport> Detached<T> {
    pub(crate) fn new(parts: Parts<T>) -> Self {
        Self(Some(Box::new(parts)))
    }

    pub(crate) fn into_parts(mut self) -> Parts<T> {
        *self.0.take().expect("the parts are taken out once")
    }

    /// Cuts it, as nobody is there to take it, and counts it as `worker`'s, whose cells are `cells`.
    ///
    /// Each cell has one writer: this is for that worker's thread, or for when it has ended.
    pub fn abort(self, worker: usize, cells: &CoreCells, now: Instant) {
        let parts = self.into_parts();
        let termination = Termination::of(Cause::Drain, parts.relay.stage(), None);
        parts.cut(worker, cells, Cause::Drain, termination, now);
    }
}

impl<T: Transport> Parts<T> {
    /// Cuts it, as this machine has no room for it, and counts it.
    pub(crate) fn give_up(self, worker: usize, cells: &CoreCells, now: Instant) {
        let termination = Termination::exhausted(self.relay.stage());
        self.cut(worker, cells, Cause::ClientError, termination, now);
    }

    /// Resets both sides, and counts the end.
    fn cut(
        mut self,
        worker: usize,
        cells: &CoreCells,
        cause: Cause,
        termination: Termination,
        now: Instant,
    ) {
        if self.core as usize != worker {
            cells.taken_from[self.core as usize].increment();
        }
        for transport in [&self.client, &self.server] {
            transport.reset_on_close();
        }
        self.entry
            .end(worker, cause, termination, self.attempts, now);
        cells.ended.increment();
        let upstream = self.entry.listener.upstream.cells.of(worker);
        upstream.servers[self.index as usize].closed.increment();
    }
}

impl<T: Transport> Drop for Detached<T> {
    /// A plain close would tell both sides that they have all the bytes.
    fn drop(&mut self) {
        if let Some(parts) = &self.0 {
            parts.client.reset_on_close();
            parts.server.reset_on_close();
        }
    }
}
