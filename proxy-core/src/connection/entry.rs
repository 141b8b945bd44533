//! A connection's place among the live ones, and its right to be there.

use std::sync::Arc;
use std::time::Instant;

use crate::connection::attempts::Attempts;
use crate::connection::end::{End, Termination};
use crate::connection::live::Place;
use crate::connection::origin::Origin;
use crate::connection::record::Record;
use crate::listener::permit::Permit;
use crate::listener::settings::ListenerSettings;
use crate::metrics::{Cause, Slot};
use crate::route::Facts;
use crate::upstream::server::Server;

/// A connection as its listener knows it; left when this is dropped at the latest.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) permit: Permit,
    pub(crate) record: Arc<Record>,
    /// None once it has left.
    place: Option<Place>,
}

impl Entry {
    /// Enters a connection that a worker begins; `in_prologue` says whether its client is heard first.
    pub(crate) fn new(permit: Permit, slot: Slot, origin: Origin, in_prologue: bool) -> Self {
        let live = &permit.settings().listener.live;
        let (record, place) = live.enter(slot, origin, in_prologue);
        Self {
            permit,
            record,
            place: Some(place),
        }
    }

    /// Enters a connection that another process began, once a worker has it.
    pub(crate) fn carried(permit: Permit, record: Arc<Record>) -> Self {
        Self {
            permit,
            record,
            place: None,
        }
    }

    /// It is this worker's now: shows a connection of another process among the live ones.
    pub(crate) fn enter(&mut self, slot: Slot) {
        if self.place.is_none() {
            self.record.on_moved(slot.index());
            let live = &self.settings().listener.live;
            self.place = Some(live.enter_again(slot, &self.record));
        }
    }

    /// The settings that the connection began with.
    pub(crate) fn settings(&self) -> &ListenerSettings {
        self.permit.settings()
    }

    /// More is known of it. It must have no server yet.
    pub(crate) fn set_facts(&mut self, facts: Facts) {
        self.replace(self.record.with(Arc::new(facts)));
    }

    /// The server that it had took nothing of it: it is to have another one.
    pub(crate) fn forget_server(&mut self) {
        self.replace(self.record.without_server());
    }

    fn replace(&mut self, record: Record) {
        let record = Arc::new(record);
        if let Some(place) = self.place {
            let live = &self.settings().listener.live;
            live.replace(place, record.clone());
        }
        self.record = record;
    }

    /// Hands the place on to another owner.
    pub(crate) fn hand_on(&mut self) -> Self {
        Self {
            permit: self.permit.hand_on(),
            record: self.record.clone(),
            place: self.place.take(),
        }
    }

    /// Counts the connection's end and reports it, and leaves. `tried` is the last server that was tried, where none was
    /// connected to. On the thread of the worker that has the slot only.
    pub(crate) fn end(
        &mut self,
        slot: Slot,
        cause: Cause,
        termination: Termination,
        attempts: Attempts,
        tried: Option<&Arc<Server>>,
        now: Instant,
    ) {
        let settings = self.permit.settings();
        let record = &self.record;
        let total = now.saturating_duration_since(record.accepted_at());
        settings.listener.count_end(slot, cause, total);
        if let Some(ends) = &settings.ends {
            let (bytes_in, bytes_out) = record.bytes();
            let end = End {
                id: record.id(),
                listener: settings.listener.clone(),
                client: record.client(),
                peer: record.peer(),
                facts: record.facts().cloned(),
                server: record.server().or(tried).cloned(),
                bytes_in,
                bytes_out,
                wait: attempts.wait().unwrap_or(total),
                connect: attempts.connect(),
                total,
                retries: attempts.retries(),
                core: slot.index(),
                cause,
                termination,
                at: now,
            };
            ends.report(slot, end);
        }
        self.leave();
        // Before the client can know of the end: it may come again at once.
        self.permit.release();
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.settings().listener.live.leave(place);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}
