//! A server of an upstream: what survives every change of settings.

mod carried;
mod heeding;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::closing::ClosingCell;
use crate::id::Id;
use crate::metrics::{CheckCells, PerWorker, ServerCells};
use crate::upstream::address::ServerAddress;
use crate::upstream::addresses::{Addresses, Walk};
use crate::upstream::agent::Agent;
use crate::upstream::by_hand::WeightByHand;
use crate::upstream::connect_time::ConnectTime;
use crate::upstream::ejection::EjectionCause;
use crate::upstream::ejection::conduct::Conduct;
use crate::upstream::load::Load;
use crate::upstream::outage::Outage;
use crate::upstream::rest::Rest;
use crate::upstream::state::{Hold, Holds, Standing};
use crate::upstream::warmth::Warmth;
use crate::upstream::witness::Judge;
use crate::upstream::{Common, Upstream};

/// A server, as long as it is known: its name, its counters, and what is known of its state.
#[derive(Debug)]
pub struct Server {
    /// Unlike that of all others.
    pub id: Id,
    /// The label `upstream`: the name of the upstream that it belongs to.
    pub upstream: String,
    /// The label `server`: the address as it was configured.
    pub label: String,
    /// What each worker counts of it.
    pub cells: PerWorker<ServerCells>,
    /// What is counted of its health checks.
    pub checks: CheckCells,
    /// Since when it fails, and why.
    pub outage: Outage,
    location: Location,
    /// What is held against it. [`Hold::Down`] is written by the thread that checks; without checks, by any worker at the end
    /// of a connect.
    standing: Standing,
    /// What is to become of its connections once it was removed.
    pub on_removed: ClosingCell,
    /// What is to become of them while it is down.
    pub on_down: ClosingCell,
    /// Without checks: until when it is passed over.
    pub(crate) rest: Rest,
    /// What it may be ejected for.
    pub(crate) conduct: Conduct,
    /// Connections to it, over all workers.
    pub(crate) load: Load,
    pub(crate) warmth: Warmth,
    /// What its agent has said.
    pub(crate) agent: Agent,
    pub(crate) connect_time: ConnectTime,
    weight_by_hand: WeightByHand,
    /// What its last health check that it answered wrongly found, in words.
    answer: Mutex<Arc<str>>,
    /// When it was taken out of the configuration the last time, or by its source.
    removed: Mutex<Option<Instant>>,
    /// Its place in the order of its upstream, and when it was picked there last: both under that one's lock.
    pub(crate) seat: AtomicU64,
    pub(crate) picked: AtomicU64,
    /// What its upstream's servers share.
    common: Arc<Common>,
}

/// Characters of what was wrong with an answer that are kept.
pub const ANSWER_CHARS_MAX: usize = 240;

#[derive(Debug)]
enum Location {
    Fixed(ServerAddress),
    Named(Addresses),
}

impl Server {
    /// A server at an address.
    pub fn fixed(upstream: &Upstream, label: String, address: ServerAddress) -> Self {
        Self::at(upstream, label, Location::Fixed(address))
    }

    /// A server with a name that [`Server::set_addresses`] gives addresses to.
    pub fn named(upstream: &Upstream, label: String) -> Self {
        Self::at(upstream, label, Location::Named(Addresses::default()))
    }

    fn at(upstream: &Upstream, label: String, location: Location) -> Self {
        Self {
            id: Id::next(),
            upstream: upstream.name.clone(),
            label,
            cells: PerWorker::default(),
            checks: CheckCells::default(),
            outage: Outage::default(),
            location,
            standing: Standing::default(),
            on_removed: ClosingCell::default(),
            on_down: ClosingCell::default(),
            rest: Rest::default(),
            conduct: Conduct::default(),
            load: Load::default(),
            warmth: Warmth::default(),
            agent: Agent::default(),
            connect_time: ConnectTime::default(),
            weight_by_hand: WeightByHand::default(),
            answer: Mutex::new("".into()),
            removed: Mutex::default(),
            seat: AtomicU64::default(),
            picked: AtomicU64::default(),
            common: upstream.common.clone(),
        }
    }

    /// Connections to it, over all workers, connects under way included.
    pub fn connections(&self) -> u64 {
        self.load.get()
    }

    /// Whether it has as many connections as it may.
    pub fn is_full(&self, max: Option<u64>) -> bool {
        self.load.is_full(max)
    }

    /// Counts a connection to it, whatever its limits.
    pub(crate) fn take(&self) {
        self.load.take(None);
        self.common.load.take(None);
        self.on_taken();
    }

    /// What a name resolves to now; connections that exist are left alone. Nothing for a fixed server.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        if let Location::Named(named) = &self.location
            && named.set(addresses)
        {
            self.rest.end();
            self.on_change();
        }
    }

    /// All that is held against it now: one relaxed load.
    pub fn holds(&self) -> Holds {
        self.standing.holds()
    }

    /// Sets a hold, or lifts it. Returns whether that is a change. For [`Hold::Down`] it is [`Server::set_up`].
    pub fn set_hold(&self, hold: Hold, holds: bool, now: Instant) -> bool {
        let is_change = self.standing.set(hold, holds, now);
        if is_change {
            self.on_hold(hold, holds);
        }
        is_change
    }

    fn on_hold(&self, hold: Hold, holds: bool) {
        if !holds && matches!(hold, Hold::Down | Hold::Ejected | Hold::AgentDown) {
            self.warmth.on_come();
        }
        self.on_change();
    }

    /// Since when a hold holds; none: it doesn't.
    pub fn since(&self, hold: Hold) -> Option<Instant> {
        match hold {
            // When it went down; of one that nobody has checked, its first failure.
            Hold::Down => (self.standing.since(hold))
                .or_else(|| self.outage.since().filter(|_| self.holds().has(hold))),
            _ => self.standing.since(hold),
        }
    }

    /// Since when nothing is held against it; none: something is.
    pub fn clear_since(&self) -> Option<Instant> {
        self.standing.clear_since()
    }

    /// It has come, or is back: nothing is held against it from now on but what is.
    pub(crate) fn note_coming(&self, now: Instant) {
        self.standing.begin_clear(now);
    }

    /// When it was removed the last time; none: it never was.
    pub fn removed_since(&self) -> Option<Instant> {
        *self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is in no configuration any more, and no source names it.
    pub(crate) fn note_removal(&self, now: Instant) {
        *self.removed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// The weight that somebody has set, which is in force instead of the one that is configured; none: nobody has.
    pub fn weight_by_hand(&self) -> Option<u16> {
        self.weight_by_hand.get()
    }

    /// Sets it, or takes it back. It counts in tables that are made from now on.
    pub fn set_weight_by_hand(&self, weight: Option<u16>) {
        self.weight_by_hand.set(weight);
    }

    /// Whether its health checks say that it is up; without checks, whether the last connect to it worked. True before the
    /// first. False, too, where its agent says that it is down.
    pub fn is_up(&self) -> bool {
        self.holds().is_up()
    }

    /// Says whether it is up: for who checks it.
    pub fn set_up(&self, up: bool, now: Instant) {
        if self.standing.set(Hold::Down, !up, now) {
            self.on_hold(Hold::Down, !up);
        }
    }

    /// It is down until who checks it says otherwise.
    pub fn set_down(&self) {
        if self.standing.begin(Hold::Down) {
            self.on_hold(Hold::Down, true);
        }
    }

    /// What was wrong with its last answer to a health check that failed for it, in words; may be empty.
    pub fn wrong_answer(&self) -> Arc<str> {
        let answer = self.answer.lock();
        answer.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its answer to a health check was wrong: for people, so that only the first [`ANSWER_CHARS_MAX`] characters are kept.
    pub fn set_wrong_answer(&self, words: &str) {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let printable = words.chars().map(|char| match char {
            char if char.is_control() => ' ',
            char => char,
        });
        let kept = printable.take(ANSWER_CHARS_MAX);
        if !kept.clone().eq(answer.chars()) {
            *answer = kept.collect::<String>().into();
        }
    }

    /// It serves from now on, and did not before.
    pub(crate) fn on_come(&self) {
        self.warmth.on_come();
        self.on_change();
    }

    /// A connect failed at all of its addresses, or worked: without checks, that is what its state is.
    pub(crate) fn on_connect(&self, worked: bool, now: Instant) {
        self.set_up(worked, now);
        let changes = if worked {
            self.rest.on_success()
        } else {
            self.rest.on_failure(now);
            true
        };
        if changes {
            self.on_change();
        }
    }

    /// Something has changed besides its connections that says whether it gets some.
    pub(crate) fn on_change(&self) {
        self.common.board.on_change();
        self.common.on_change();
    }

    /// A connection to it is counted that its upstream's order has not heard of.
    pub(crate) fn on_taken(&self) {
        self.common.board.on_load(self);
    }

    /// Whether clients wait for its upstream, or for one that it stands in for, or have done so.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.common.queue.longest_wait().is_zero() || self.common.followers.has_any()
    }

    /// One of its connections is over.
    pub(crate) fn release(&self) {
        self.load.release();
        self.common.load.release();
        self.common.board.on_load(self);
        // Last: whoever waits finds all of it.
        self.common.on_free();
    }

    /// A check passed: an ejection ends.
    pub fn on_check_passed(&self, now: Instant) {
        if self.holds().has(Hold::Ejected) && self.end_ejection(now) {
            let (upstream, server) = (&self.upstream, &self.label);
            tracing::info!(
                upstream,
                server,
                "the server is no longer ejected: a check passed"
            );
            self.tell(Judge::Ejection, "is no longer ejected: a check passed");
        }
    }

    /// Tells who wants to know what becomes of servers.
    pub fn tell(&self, judge: Judge, words: &str) {
        if let Some(witness) = &self.common.witness {
            witness.on_verdict(judge, &self.upstream, &self.label, words);
        }
    }

    /// Ends an ejection. Returns whether there was one.
    pub(crate) fn end_ejection(&self, now: Instant) -> bool {
        let has_ended = self.set_hold(Hold::Ejected, false, now);
        if has_ended {
            self.conduct.on_ended(now);
        }
        has_ended
    }

    /// Why it was ejected the last time, and when that is over or was; none: it never was.
    pub fn ejection(&self) -> Option<(EjectionCause, Instant)> {
        Some((self.conduct.cause(), self.conduct.ends_at()?))
    }

    /// How often it was ejected for this cause.
    pub fn ejections(&self, cause: EjectionCause) -> u64 {
        self.conduct.ejections(cause)
    }

    /// How often it would have been, and as many were as the largest share allows.
    pub fn spared_ejections(&self, cause: EjectionCause) -> u64 {
        self.conduct.spared(cause)
    }

    /// Where it is; none: it has a name.
    pub(crate) fn fixed_address(&self) -> Option<&ServerAddress> {
        match &self.location {
            Location::Fixed(address) => Some(address),
            Location::Named(_) => None,
        }
    }

    /// A connection's way over its addresses, which begins with another one than the last connection's.
    pub fn walk(&self) -> Walk {
        match &self.location {
            Location::Fixed(address) => Walk::fixed(address.clone()),
            Location::Named(named) => named.walk(),
        }
    }

    /// The same for a check, which takes no connection's turn.
    pub fn walk_aside(&self) -> Walk {
        match &self.location {
            Location::Fixed(address) => Walk::fixed(address.clone()),
            Location::Named(named) => named.walk_aside(),
        }
    }
}
