//! A client that waits for a place at a server, from one process to another. Within a process it stays where it is, as the line is
//! one for all workers.

use std::sync::Arc;
use std::time::Instant;

use crate::admission::source::Source;
use crate::carry::{Adoption, Error, Fields, Writer};
use crate::connection::attempts::Attempts;
use crate::connection::connect::{Wait, WaitTurn};
use crate::connection::detached::count_taken;
use crate::connection::end::{Stage, Termination};
use crate::connection::entry::Entry;
use crate::connection::first::First;
use crate::connection::origin::ClientAddress;
use crate::connection::record::Record;
use crate::listener::permit::Permit;
use crate::metrics::{Cause, CoreCells, Slot};
use crate::route::Facts;
use crate::transport::Transport;

/// A client that waits, wherever it is.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) entry: Entry,
    pub(crate) client: T,
    pub(crate) wait: Wait,
    /// The worker that ran it last; none: it comes from another process.
    pub(crate) ran_by: Option<Slot>,
    /// How often it was attached to another worker.
    pub(crate) moves: u32,
}

mod tag {
    pub(super) const ID: u8 = 0;
    pub(super) const LISTENER: u8 = 1;
    pub(super) const UPSTREAM: u8 = 2;
    pub(super) const PEER: u8 = 3;
    pub(super) const FACTS: u8 = 4;
    pub(super) const ACCEPTED_AT: u8 = 5;
    pub(super) const SOURCE: u8 = 6;
    pub(super) const FIRST: u8 = 7;
    pub(super) const ATTEMPTS: u8 = 8;
    pub(super) const TURN: u8 = 9;
    pub(super) const MOVES: u8 = 10;
}

impl<T: Transport> Waiting<T> {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        let record = &self.entry.record;
        let settings = self.entry.settings();
        out.number(tag::ID, record.id());
        out.text(tag::LISTENER, &settings.listener.name);
        out.text(tag::UPSTREAM, &self.wait.upstream);
        match record.facts() {
            Some(facts) => out.nested(tag::FACTS, |out| facts.encode(out)),
            None => out.address(tag::PEER, record.peer().tcp()),
        }
        out.moment(tag::ACCEPTED_AT, record.accepted_at());
        if let Some(source) = self.entry.permit.source() {
            out.text(tag::SOURCE, &source.to_string());
        }
        if let Some(first) = &self.wait.first {
            out.nested(tag::FIRST, |out| first.encode(out));
        }
        out.nested(tag::ATTEMPTS, |out| self.wait.attempts.encode(out));
        out.nested(tag::TURN, |out| self.wait.turn.encode(out));
        out.number(tag::MOVES, self.moves.into());
    }

    /// It waits for servers of the upstream of that name that its listener has here.
    ///
    /// # Errors
    /// When the fields are none of such a client, or this configuration has no such listener with such an upstream.
    pub(super) fn decode(
        mut fields: Fields<'_>,
        client: T,
        adoption: &Adoption<'_>,
    ) -> Result<Self, Error> {
        let id = fields.number(tag::ID, u64::MAX, "an id")?;
        let listener = fields.name(tag::LISTENER, "a listener")?;
        let upstream = fields.name(tag::UPSTREAM, "an upstream")?;
        let peer = fields.address(tag::PEER, "a peer")?;
        let facts = fields.nested(tag::FACTS)?;
        let accepted_at = fields.moment(tag::ACCEPTED_AT, "when it was accepted")?;
        let source = |text: &str| text.parse::<Source>().ok();
        let source = fields.parsed(tag::SOURCE, "a source", source)?;
        let first = fields.nested(tag::FIRST)?.map(First::decode).transpose()?;
        let attempts = fields.nested(tag::ATTEMPTS)?;
        let attempts = Attempts::decode(attempts.ok_or(Error::Lacks("attempts"))?)?;
        let turn = fields.nested(tag::TURN)?;
        let turn = WaitTurn::decode(turn.ok_or(Error::Lacks("a place in a line"))?)?;
        let moves = fields.number(tag::MOVES, u32::MAX.into(), "moves")?;
        fields.finish()?;
        let mut configured = adoption.table.listeners.iter();
        let settings = configured.find(|settings| settings.listener.name == listener);
        let settings = settings.ok_or(Error::Bad("a listener to wait at"))?.clone();
        let way = settings.way_to(upstream);
        let (destination, fallbacks) = way.ok_or(Error::Bad("an upstream to wait for"))?;
        let facts = facts.map(|facts| Facts::decode(facts, &settings.listener.routes));
        let facts = facts.transpose()?.ok_or(ClientAddress::of(peer));
        let record = Arc::new(Record::carried_unserved(id, facts, accepted_at));
        settings.listener.on_come();
        let permit = Permit::carried(settings, source);
        if let Some(elsewhere) = adoption.elsewhere {
            elsewhere.on_come(None, permit.settings(), source);
        }
        Ok(Self {
            entry: Entry::carried(permit, record),
            client,
            wait: Wait {
                upstream: upstream.to_owned(),
                destination,
                fallbacks,
                first,
                attempts,
                turn,
            },
            ran_by: None,
            moves: moves as u32,
        })
    }
}

impl<T: Transport> Waiting<T> {
    /// Cuts it, as nobody is there to take it, and counts its end.
    pub(super) fn abort(self, slot: Slot, cells: &CoreCells, now: Instant) {
        let termination = Termination::of(Cause::Drain, Stage::Queue, None);
        self.cut(slot, cells, Cause::Drain, termination, now);
    }

    /// Cuts it, as this machine has no room for it, and counts its end.
    pub(crate) fn give_up(self, slot: Slot, cells: &CoreCells, now: Instant) {
        let termination = Termination::exhausted(Stage::Queue);
        self.cut(slot, cells, Cause::ClientError, termination, now);
    }

    fn cut(
        mut self,
        slot: Slot,
        cells: &CoreCells,
        cause: Cause,
        termination: Termination,
        now: Instant,
    ) {
        count_taken(self.ran_by, slot, cells);
        if self.ran_by.is_some() {
            // It began to wait for a server in this process.
            let settings = self.entry.settings();
            let pool = settings.pool_after(self.wait.destination, self.wait.fallbacks);
            pool.upstream().cells.of(slot).waits_over.increment();
        }
        self.client.reset_on_close();
        let attempts = self.wait.attempts;
        self.entry
            .end(slot, cause, termination, attempts, None, now);
        cells.ended.increment();
    }
}
