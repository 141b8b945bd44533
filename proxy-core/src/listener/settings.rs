//! What is configured of a listener.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::access::Access;
use crate::admission::bandwidth::BandwidthSettings;
use crate::admission::limits::Limits;
use crate::connection::end::{End, Stage, Termination};
use crate::connection::ends::Ends;
use crate::connection::origin::{ClientAddress, Origin};
use crate::listener::Listener;
use crate::listener::times::Times;
use crate::metrics::{Cause, Rejection, Slot};
use crate::prologue::{AcceptProxy, PrologueSettings};
use crate::route::{Destination, Routes};
use crate::upstream::pool::Pool;

/// A listener as one reading of the configuration has it. It never changes; a connection keeps the one that it began with.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Whose settings they are.
    pub listener: Arc<Listener>,
    /// Where its connections go, unless a route takes them elsewhere.
    pub pool: Arc<Pool>,
    /// Where connections go by what is known of them; none: all to the one pool, and nothing is asked.
    pub routes: Option<Arc<Routes>>,
    /// What is heard of a client before a server is looked for; none: nothing is, and no connection has that phase.
    pub prologue: Option<Arc<PrologueSettings>>,
    /// CPU shares against other listeners on the same core, 1 to [`SHARES_MAX`](crate::SHARES_MAX).
    pub shares: u16,
    /// How soon its connections want to run; none: throughput is what matters.
    pub latency: Option<Duration>,
    /// How long both sides may be silent; none: for ever.
    pub idle_timeout: Option<Duration>,
    /// What else may end them by time.
    pub times: Times,
    /// Whether bulk may go through pipes, uncopied.
    pub splice: bool,
    /// Connections that it takes at a time, those that began under other settings included: those beyond are closed at
    /// once. None: as many as come.
    pub max_connections: Option<u64>,
    /// Who may connect, by who the client is; none: everybody.
    pub access: Option<Arc<Access>>,
    /// The same by who has connected, whichever client it announces.
    pub peer_access: Option<Arc<Access>>,
    /// How many they may have and begin, besides.
    pub limits: Limits,
    /// How fast they may be. Connections of all settings follow those that are in force.
    pub bandwidth: BandwidthSettings,
    /// Where each connection's end is reported; none: nowhere.
    pub ends: Option<Arc<Ends>>,
}

impl ListenerSettings {
    /// Those of a listener in front of `pool`, without limits.
    pub fn new(listener: Arc<Listener>, pool: Arc<Pool>) -> Self {
        Self {
            shares: listener.share.shares(),
            listener,
            pool,
            routes: None,
            prologue: None,
            latency: None,
            idle_timeout: None,
            times: Times::default(),
            splice: true,
            max_connections: None,
            access: None,
            peer_access: None,
            limits: Limits::default(),
            bandwidth: BandwidthSettings::default(),
            ends: None,
        }
    }

    /// Whether a connection is more than its peer, so that it is decided where it goes before a server is looked for.
    pub(crate) fn decides(&self) -> bool {
        self.prologue.is_some() || self.routes.is_some()
    }

    /// Who announces clients, so that who a client is may not be known at the accept; none: nobody does.
    pub(crate) fn accept_proxy(&self) -> Option<&AcceptProxy> {
        self.prologue.as_ref()?.accept_proxy.as_ref()
    }

    /// Whether this peer is the client, as is known at the accept: it announces none.
    pub(crate) fn is_client(&self, peer: ClientAddress) -> bool {
        self.accept_proxy()
            .is_none_or(|accept| accept.takes_as_client(peer))
    }

    /// The pool that a connection goes to.
    pub(crate) fn pool_of(&self, destination: Destination) -> &Arc<Pool> {
        let routes = self.routes.as_ref();
        let pool = routes.and_then(|routes| routes.pool(destination));
        pool.unwrap_or(&self.pool)
    }

    /// The same after so many others stood in, each for the one before.
    pub(crate) fn pool_after(&self, destination: Destination, fallbacks: u16) -> &Arc<Pool> {
        let mut pool = self.pool_of(destination);
        for _ in 0..fallbacks {
            // There are as many as it has come through.
            pool = pool.fallback().unwrap_or(pool);
        }
        pool
    }

    /// How a connection comes to the pool of an upstream: where it goes, and how often another one stands in. None where it can't.
    pub(crate) fn way_to(&self, upstream: &str) -> Option<(Destination, u16)> {
        let others = self
            .routes
            .as_ref()
            .map_or(0, |routes| routes.pools().len());
        let last = u16::try_from(others).unwrap_or(u16::MAX);
        (0..=last).map(Destination).find_map(|destination| {
            let first = self.pool_of(destination);
            let row = std::iter::successors(Some(first), |pool| pool.fallback());
            let mut row = (0..u16::MAX).zip(row);
            let at = row.find(|(_, pool)| pool.upstream().name == upstream);
            at.map(|(fallbacks, _)| (destination, fallbacks))
        })
    }

    /// Counts a connection that was admitted and could not be taken on: the scheduler's source of readiness is
    /// full. The caller drops its permit and closes it.
    pub fn give_up(&self, slot: Slot, origin: Origin, now: Instant) {
        let cells = self.listener.cells.of(slot);
        cells.rejected[Rejection::Descriptors as usize].increment();
        cells.ended[Cause::ClientError as usize].increment();
        let termination = Termination::exhausted(Stage::Queue);
        self.report_unbegun(slot, origin, Cause::ClientError, termination, now);
    }

    /// Counts a connection that was admitted, and that a stop cut before anybody began it. The caller closes it.
    pub fn abandon(&self, slot: Slot, origin: Origin, now: Instant) {
        let cause = Cause::Drain;
        self.listener.count_end(slot, cause, Duration::ZERO);
        let termination = Termination::of(cause, Stage::Queue, None);
        self.report_unbegun(slot, origin, cause, termination, now);
    }

    /// Reports the end of a connection that nobody began.
    fn report_unbegun(
        &self,
        slot: Slot,
        origin: Origin,
        cause: Cause,
        termination: Termination,
        now: Instant,
    ) {
        let Some(ends) = &self.ends else {
            return;
        };
        let total = now.saturating_duration_since(origin.accepted_at);
        let end = End {
            id: self.listener.live.id(slot),
            listener: self.listener.clone(),
            client: origin.peer,
            peer: origin.peer,
            facts: None,
            server: None,
            bytes_in: 0,
            bytes_out: 0,
            wait: total,
            connect: None,
            total,
            retries: 0,
            core: slot.index(),
            cause,
            termination,
            at: now,
        };
        ends.report(slot, end);
    }
}
