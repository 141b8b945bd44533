//! A server that took a connection and to which nothing of the client's was sent: if it ends the connection, another one may
//! take its place, and the client hears nothing of it. Only where the upstream has a budget for retries.
//!
//! Nothing is held back for that: what a side sends goes to the other one when it comes, and then it is over. Only the end of
//! the server's stream is looked at first. A header of the proxy's own is no byte of the client's: the next server gets one, too.

use std::time::{Duration, Instant};

use crate::carry::{Error, Fields, Writer};
use crate::connection::connect::retries::Search;
use crate::connection::record::Record;
use crate::connection::trial::Finding;
use crate::connection::{Connection, Phase, Relaying};
use crate::listener::settings::ListenerSettings;
use crate::relay::{Failure, Relay, Side, State};
use crate::runtime::{Attempt, Runtime, Socket};
use crate::transport::Transport;
use crate::upstream::pool::Pool;
use crate::worker::Worker;

/// A server that ends a connection within this time, before a byte went either way, has not served it. `early` of the
/// upstream's ejection stands for it where there is one.
pub const HALF_CONNECTED_FOR: Duration = Duration::from_secs(1);

/// What finding another server takes, and until when.
#[derive(Debug)]
pub(crate) struct Probation {
    search: Search,
    /// Bytes that the server gets first, which are there for another one, too.
    opening: u64,
    ends_at: Instant,
}

impl Probation {
    /// That of a server that took a connection just now, and gets so many bytes first.
    pub(super) fn new(search: Search, opening: u64, pool: &Pool, now: Instant) -> Self {
        Self {
            search,
            opening,
            ends_at: now + pool.early().unwrap_or(HALF_CONNECTED_FOR),
        }
    }

    /// What a turn of the relay shows; none: nothing yet.
    fn finding(&self, relay: &Relay, state: &State, now: Instant) -> Option<Finding> {
        if !relay.is_untouched(self.opening) {
            return Some(Finding::Nothing);
        }
        let lost = match state {
            State::Failed(Failure { side, .. }) => Some(*side),
            _ => None,
        };
        let has_ended = |side| relay.has_ended(side) || lost == Some(side);
        let was_kept = self.ends_at <= now;
        match Finding::of(
            relay.server_has_spoken(),
            has_ended(Side::Client),
            has_ended(Side::Server),
            was_kept,
        ) {
            None if was_kept || has_ended(Side::Client) => Some(Finding::Nothing),
            finding => finding,
        }
    }
}

mod tag {
    pub(super) const SEARCH: u8 = 0;
    pub(super) const OPENING: u8 = 1;
    pub(super) const ENDS_AT: u8 = 2;
}

impl Probation {
    pub(super) fn encode(&self, settings: &ListenerSettings, out: &mut Writer<'_>) {
        out.nested(tag::SEARCH, |out| self.search.encode(settings, out));
        out.number(tag::OPENING, self.opening);
        out.moment(tag::ENDS_AT, self.ends_at);
    }

    /// None where another server can't take the place of this one here: the upstream has no budget for that, or not that server.
    pub(super) fn decode(
        mut fields: Fields<'_>,
        settings: &ListenerSettings,
        record: &Record,
    ) -> Result<Option<Box<Self>>, Error> {
        let search = fields.nested(tag::SEARCH)?;
        let search = search.ok_or(Error::Lacks("what finding a server takes"))?;
        let search = Search::decode(search, settings, record)?;
        let opening = fields.count(tag::OPENING, "bytes that a server gets first")?;
        let ends_at = fields.moment(tag::ENDS_AT, "when a probation ends")?;
        fields.finish()?;
        Ok(search.map(|search| {
            Box::new(Self {
                search,
                opening,
                ends_at,
            })
        }))
    }
}

/// What becomes of a connection whose server was on probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It goes on as it would without a budget.
    Relays,
    /// The end of the server's stream is to be passed on.
    EndsNext,
    /// Another server is looked for.
    Connects,
}

impl<R: Runtime> Connection<R> {
    /// Whether its server has served it yet.
    pub(super) fn is_on_probation(&self) -> bool {
        matches!(&self.phase, Phase::Relaying(relaying) if relaying.probation.is_some())
    }

    /// Before a turn: an end of the server's that the kernel knows of is found before the client's first bytes are sent into it.
    pub(super) fn check_server(&mut self, worker: &mut Worker) -> Course {
        let Phase::Relaying(relaying) = &self.phase else {
            return Course::Relays;
        };
        let Some(probation) = &relaying.probation else {
            return Course::Relays;
        };
        let is_over = |socket: &R::Socket| {
            let next = socket.transport().peek();
            matches!(next, Ok(Attempt::Drained(0)) | Err(_))
        };
        if probation.ends_at <= worker.now
            || !is_over(&relaying.server)
            || is_over(&relaying.client)
        {
            return Course::Relays;
        }
        self.leave_server(worker)
    }

    /// After a turn.
    pub(super) fn judge_server(&mut self, worker: &mut Worker, state: &State) -> Course {
        let Phase::Relaying(relaying) = &mut self.phase else {
            return Course::Relays;
        };
        let Some(probation) = &relaying.probation else {
            return Course::Relays;
        };
        match probation.finding(&relaying.relay, state, worker.now) {
            None => Course::Relays,
            Some(Finding::EndsEarly) => self.leave_server(worker),
            Some(Finding::Serves | Finding::Nothing) => relaying.end_probation(),
        }
    }

    /// The server ended the connection before anything of the client's was sent to it: counts that, and goes back to connecting
    /// if the budget allows it.
    fn leave_server(&mut self, worker: &mut Worker) -> Course {
        let Phase::Relaying(relaying) = &mut self.phase else {
            return Course::Relays;
        };
        let Some(mut probation) = relaying.probation.take() else {
            return Course::Relays;
        };
        // The pool hears of it here.
        relaying.trial = None;
        let (destination, fallbacks) = probation.search.way();
        let pool = self.entry.settings().pool_after(destination, fallbacks);
        let search = &mut probation.search;
        if !search.on_end(pool, &mut relaying.attempts, worker) {
            return relaying.end_probation();
        }
        let cells = pool.upstream().cells.of(worker.slot());
        cells.waits_begun.increment();
        if let Phase::Relaying(mut relaying) = std::mem::replace(&mut self.phase, Phase::Over) {
            relaying.relay.release(&mut worker.buffers);
            self.phase = Phase::Connecting {
                client: relaying.client,
                connect: Box::new(probation.search.resume(
                    relaying.taken,
                    relaying.attempts,
                    worker.now,
                )),
            };
        }
        self.entry.forget_server();
        self.clocks = None;
        self.mark_check_at = None;
        self.stall_check_at = None;
        Course::Connects
    }
}

impl<S> Relaying<S> {
    /// What it says from now on is forwarded, and how it ends.
    pub(super) fn end_probation(&mut self) -> Course {
        self.probation = None;
        if self.relay.release_end() {
            Course::EndsNext
        } else {
            Course::Relays
        }
    }
}
