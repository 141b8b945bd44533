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

/// A connection as its listener knows it; left when this is dropped at the latest.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) permit: Permit,
    pub(crate) record: Arc<Record>,
    /// None once it has left.
    place: Option<Place>,
}

impl Entry {
    /// Enters a connection that a worker begins.
    pub(crate) fn new(permit: Permit, slot: Slot, origin: Origin) -> Self {
        let (record, place) = permit.settings().listener.live.enter(slot, origin);
        Self {
            permit,
            record,
            place: Some(place),
        }
    }

    /// The settings that the connection began with.
    pub(crate) fn settings(&self) -> &ListenerSettings {
        self.permit.settings()
    }

    /// Hands the place on to another owner.
    pub(crate) fn hand_on(&mut self) -> Self {
        Self {
            permit: self.permit.hand_on(),
            record: self.record.clone(),
            place: self.place.take(),
        }
    }

    /// Counts the connection's end and reports it, and leaves. On the thread of the worker that has the slot only.
    pub(crate) fn end(
        &mut self,
        slot: Slot,
        cause: Cause,
        termination: Termination,
        attempts: Attempts,
        now: Instant,
    ) {
        let settings = self.permit.settings();
        let origin = self.record.origin();
        let total = now.saturating_duration_since(origin.accepted_at);
        settings.listener.count_end(slot, cause, total);
        if let Some(ends) = &settings.ends {
            let (bytes_in, bytes_out) = self.record.bytes();
            let tried = || Some(settings.pool.server(attempts.last_server()?));
            let end = End {
                id: self.record.id(),
                listener: settings.listener.clone(),
                client: origin.client,
                server: self.record.server().or_else(tried).cloned(),
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
