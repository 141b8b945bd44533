//! A connection that may not stay finds out when it ends.

use std::time::Instant;

use crate::closing::{ClosingCell, Ending, Manner};
use crate::connection::times::{Clocks, Expiry, LIFETIME_GRACE};
use crate::connection::{Connection, Phase, Relaying};
use crate::metrics::Cause;
use crate::relay::Relay;
use crate::runtime::Runtime;
use crate::worker::Worker;

impl<R: Runtime> Connection<R> {
    /// Something has changed that it is to see. A backend calls it before it runs the connection for that: see
    /// [`Backend::run_all`](crate::backend::Backend::run_all). Otherwise a connection looks when it has got a server, and when it
    /// has come to another worker.
    pub fn on_change(&mut self, worker: &Worker) {
        let Phase::Relaying(Relaying { attempts, .. }) = &self.phase else {
            // Until it has a server it looks whenever it runs.
            return;
        };
        let begun_at = self.entry.record.accepted_at() + attempts.wait().unwrap_or_default();
        let ending = self.ending(worker, begun_at);
        if ending.is_some() || self.clocks.is_some() {
            self.note_ending(ending, worker.now);
        }
    }

    #[cold]
    fn note_ending(&mut self, ending: Option<Ending>, now: Instant) {
        let has_times = self.entry.settings().times.is_set();
        match &mut self.clocks {
            Some(clocks) if has_times || ending.is_some() => clocks.ending = ending,
            Some(_) => self.clocks = None,
            None => self.clocks = ending.map(|ending| Clocks::of_ending(ending, now)),
        }
    }

    /// The end that is set for it, the first one if there are several: by somebody's wish, its listener, its scheduler or its server. That of
    /// which the last moment comes first: a reset doesn't wait for who is to be closed.
    pub(super) fn ending(&self, worker: &Worker, begun_at: Instant) -> Option<Ending> {
        let server = self.entry.record.server();
        let is_set = self.entry.settings().listener.closing.is_set()
            || self.entry.settings().listener.ordered_ends.is_set()
            || worker.closing().is_set()
            || server.is_some_and(|server| server.on_removed.is_set() || server.on_down.is_set());
        if is_set {
            self.find_ending(worker, begun_at)
        } else {
            None
        }
    }

    #[cold]
    fn find_ending(&self, worker: &Worker, begun_at: Instant) -> Option<Ending> {
        let record = &self.entry.record;
        let of = |cell: &ClosingCell| cell.get()?.of(record.id(), begun_at);
        let listener = &self.entry.settings().listener;
        let server = record.server();
        let all = [
            of(&listener.closing),
            listener.ordered_ends.of(record.id()),
            of(worker.closing()),
            server.and_then(|server| of(&server.on_removed)),
            server.and_then(|server| of(&server.on_down)),
        ];
        all.into_iter().flatten().min_by_key(Ending::latest)
    }
}

impl<R: Runtime> Connection<R> {
    /// The end of its lifetime, while it has no server.
    pub(super) fn lifetime(&self) -> Option<Ending> {
        let lifetime = self.entry.settings().times.lifetime?;
        let record = &self.entry.record;
        Some(Ending {
            at: record.accepted_at() + lifetime.of(record.id()),
            manner: Manner::Reset,
            cause: Cause::MaxLifetime,
        })
    }
}

/// The one of both that comes first.
pub(super) fn earliest(one: Option<Ending>, other: Option<Ending>) -> Option<Ending> {
    match (one, other) {
        (Some(one), Some(other)) if other.at < one.at => Some(other),
        (one, other) => one.or(other),
    }
}

impl Ending {
    /// The same as an expiry.
    pub(super) fn expiry(&self, relay: &Relay, silent_since: Instant) -> Expiry {
        let &Self { at, manner, cause } = self;
        match manner {
            Manner::Reset => Expiry::reset(at, cause),
            // An end of the other stream would say that all of it is there.
            Manner::Close if relay.has_ended_side() => Expiry::reset(at + LIFETIME_GRACE, cause),
            Manner::Close => Expiry::once_quiet(at, cause, relay, silent_since),
        }
    }

    /// When it is over, whatever is under way.
    pub(super) fn latest(&self) -> Instant {
        match self.manner {
            Manner::Reset => self.at,
            Manner::Close => self.at + LIFETIME_GRACE,
        }
    }
}
