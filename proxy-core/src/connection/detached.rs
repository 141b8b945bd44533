//! A connection between two workers.

mod carried;
mod waiting;

use std::sync::Arc;
use std::time::Instant;

use crate::connection::attempts::Attempts;
pub use crate::connection::detached::carried::{Carried, DESCRIPTORS_MAX};
pub(crate) use crate::connection::detached::waiting::Waiting;
use crate::connection::end::Termination;
use crate::connection::entry::Entry;
use crate::connection::probation::Probation;
use crate::connection::times::Clocks;
use crate::connection::trial::Trial;
use crate::listener::Listener;
use crate::metrics::{Cause, CoreCells, PerWorker, Slot};
use crate::relay::Relay;
use crate::relay::pipe::Pipe;
use crate::transport::Transport;
use crate::upstream::taken::Taken;

/// A connection that one worker has let go of and another one is to take: its two descriptors, the relay's state, at
/// most one buffer or pipe a direction, and nothing of a scheduler's. So it may go from thread to thread.
///
/// On the way to another process it may be a client that waits for a place at a server, and has no other side yet.
///
/// [`Connection::attach`](crate::Connection::attach) makes it a connection again. Dropping it resets both sides.
#[derive(Debug)]
pub struct Detached<T: Transport>(Option<Whole<T>>);

/// All of a connection.
#[derive(Debug)]
pub(crate) enum Whole<T> {
    Relaying(Box<Parts<T>>),
    Waiting(Box<Waiting<T>>),
}

/// What a connection is that has a server, wherever it is.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    pub(crate) entry: Entry,
    pub(crate) taken: Taken,
    pub(crate) client: T,
    pub(crate) server: T,
    pub(crate) attempts: Attempts,
    pub(crate) relay: Relay,
    pub(crate) trial: Option<Trial>,
    pub(crate) probation: Option<Box<Probation>>,
    pub(crate) last_byte_at: Instant,
    pub(crate) stall_check_at: Option<Instant>,
    pub(crate) clocks: Option<Box<Clocks>>,
    /// The worker that ran it last; none: it comes from another process.
    pub(crate) ran_by: Option<Slot>,
    /// How often it was attached to another worker.
    pub(crate) moves: u32,
}

impl<T: Transport> Detached<T> {
    pub(crate) fn new(parts: Parts<T>) -> Self {
        Self(Some(Whole::Relaying(Box::new(parts))))
    }

    pub(crate) fn waiting(waiting: Waiting<T>) -> Self {
        Self(Some(Whole::Waiting(Box::new(waiting))))
    }

    pub(crate) fn into_whole(mut self) -> Whole<T> {
        self.0.take().expect("the parts are taken out once")
    }

    fn whole(&self) -> &Whole<T> {
        self.0.as_ref().expect("it has its parts")
    }

    /// The listener that it came to.
    ///
    /// # Panics
    /// Never: it has its parts until it is consumed.
    pub fn listener(&self) -> &Arc<Listener> {
        let entry = match self.whole() {
            Whole::Relaying(parts) => &parts.entry,
            Whole::Waiting(waiting) => &waiting.entry,
        };
        &entry.settings().listener
    }

    /// Lets go of it, as another process has it: neither side is told anything. Returns what it leaves, which is to be closed; it is
    /// the last to be. With it comes its place at its server, which whoever waits here gets when that is dropped.
    ///
    /// What was decoded of another process's and is not to be kept goes the same way. `cores` counts who has it.
    pub fn release(self, cores: &PerWorker<CoreCells>) -> (Carried<T>, Option<Taken>) {
        let (ran_by, entry, carried, place) = match self.into_whole() {
            Whole::Relaying(parts) => {
                let mut parts = *parts;
                let pipes = parts.relay.take_pipes().into_iter();
                let carried = Carried {
                    client: parts.client,
                    server: Some(parts.server),
                    pipes: pipes.flat_map(Pipe::into_ends).collect(),
                };
                (parts.ran_by, parts.entry, carried, Some(parts.taken))
            }
            Whole::Waiting(waiting) => {
                let carried = Carried {
                    client: waiting.client,
                    server: None,
                    pipes: Vec::new(),
                };
                (waiting.ran_by, waiting.entry, carried, None)
            }
        };
        if let Some(slot) = ran_by {
            cores.of(slot).on_left();
        }
        entry.settings().listener.on_gone();
        (carried, place)
    }

    /// Cuts it, as nobody is there to take it, and counts it as the worker's that has the slot, whose cells are `cells`.
    ///
    /// Each cell has one writer: this is for that worker's thread, or for when it has ended.
    pub fn abort(self, slot: Slot, cells: &CoreCells, now: Instant) {
        match self.into_whole() {
            Whole::Relaying(parts) => {
                let termination = Termination::of(Cause::Drain, parts.relay.stage(), None);
                parts.cut(slot, cells, Cause::Drain, termination, now);
            }
            Whole::Waiting(waiting) => waiting.abort(slot, cells, now),
        }
    }
}

impl<T: Transport> Parts<T> {
    /// Cuts it, as this machine has no room for it, and counts it.
    pub(crate) fn give_up(self, slot: Slot, cells: &CoreCells, now: Instant) {
        let termination = Termination::exhausted(self.relay.stage());
        self.cut(slot, cells, Cause::ClientError, termination, now);
    }

    /// Resets both sides, and counts the end.
    fn cut(
        mut self,
        slot: Slot,
        cells: &CoreCells,
        cause: Cause,
        termination: Termination,
        now: Instant,
    ) {
        count_taken(self.ran_by, slot, cells);
        for transport in [&self.client, &self.server] {
            transport.reset_on_close();
        }
        self.entry
            .end(slot, cause, termination, self.attempts, None, now);
        cells.ended.increment();
    }
}

/// Counts that the worker with the slot has taken one that `ran_by` ran last; none: it comes from another process.
fn count_taken(ran_by: Option<Slot>, slot: Slot, cells: &CoreCells) {
    match ran_by {
        None => cells.adopted.increment(),
        Some(other) if other != slot => cells.taken_from.of(other).increment(),
        Some(_) => {}
    }
}

impl<T: Transport> Drop for Detached<T> {
    /// A plain close would tell both sides that they have all the bytes.
    fn drop(&mut self) {
        match &self.0 {
            Some(Whole::Relaying(parts)) => {
                parts.client.reset_on_close();
                parts.server.reset_on_close();
            }
            Some(Whole::Waiting(waiting)) => waiting.client.reset_on_close(),
            None => {}
        }
    }
}
