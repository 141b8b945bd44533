//! A pool as its policies see it.

use std::time::Instant;

use crate::id::Id;
use crate::upstream::board::{Class, Ranked, Seat};
use crate::upstream::ejection::jury::PANIC_COUNT_INTERVAL;
use crate::upstream::policy::hash::mix;
use crate::upstream::policy::{Balance, Places};
use crate::upstream::pool::Pool;
use crate::upstream::server::Server;
use crate::upstream::state::Hold;
use crate::upstream::warmth::WHOLE;

/// Which servers a connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Those that are up.
    Able,
    /// Those that are down, too: nothing else is left.
    Any,
}

/// A pool as one pick sees it.
pub(super) struct View<'a> {
    pub(super) pool: &'a Pool,
    pub(super) tried: &'a [usize],
    pub(super) ask: Ask,
    pub(super) now: Instant,
}

impl View<'_> {
    /// Whether a server would be picked if it were not full.
    pub(super) fn is_wanted(&self, place: usize) -> bool {
        !self.pool.is_closed(place)
            && !self.tried.contains(&place)
            && (self.ask == Ask::Any || !self.pool.is_down(place, self.now))
    }
}

impl Places for View<'_> {
    fn can_serve(&self, place: usize) -> bool {
        self.is_wanted(place) && !self.pool.members[place].is_full()
    }

    fn weight(&self, place: usize) -> u64 {
        self.pool.weight(place, self.now)
    }

    fn whole_weight(&self, place: usize) -> u64 {
        self.pool.members[place].whole_weight()
    }

    fn takes_turn(&self, place: usize) -> bool {
        let (warmth, slow_start) = (
            &self.pool.server(place).warmth,
            self.pool.settings.slow_start,
        );
        if slow_start.is_none() {
            warmth.skip();
        }
        let part = warmth.part(slow_start, self.now) * self.pool.part_of_turns(place);
        warmth.takes_turn((part / WHOLE).max(1))
    }

    fn keeps(&self, place: usize, hash: u64) -> bool {
        let part = self.pool.part_of_turns(place);
        part >= WHOLE || mix(hash) % u64::from(WHOLE) < u64::from(part)
    }

    fn connections(&self, place: usize) -> u64 {
        self.pool.server(place).connections()
    }

    fn connect_time(&self, place: usize) -> Option<u64> {
        self.pool.server(place).connect_time.get(self.now)
    }
}

impl Ranked for Pool {
    fn number(&self) -> Id {
        self.id
    }

    fn count(&self) -> usize {
        self.members.len()
    }

    fn server(&self, place: usize) -> &Server {
        &self.members[place].server
    }

    fn seat(&self, place: usize, now: Instant) -> Seat {
        let member = &self.members[place];
        let is_out = self.is_closed(place) || self.is_down(place, now);
        let rested_at = if self.settings.checked {
            None
        } else {
            member.server.rest.ends_at(now)
        };
        // Others may be ejected meanwhile, and so many that it is tried all the same.
        let is_ejected = self.holds(place, now).has(Hold::Ejected);
        let ends_at = member.server.conduct.ends_at().filter(|_| is_ejected);
        let ends_at = ends_at.map(|at| at.min(now + PANIC_COUNT_INTERVAL));
        let weight = self.weight(place, now);
        let is_warming = weight < member.whole_weight();
        let warmer_at = self.settings.slow_start.filter(|_| is_warming);
        let warmer_at = warmer_at.map(|slow_start| now + slow_start / WHOLE);
        Seat {
            server: member.server.id,
            class: match (is_out, member.backup) {
                (true, _) => Class::Out,
                (false, true) => Class::Backup,
                (false, false) => Class::Primary,
            },
            max: member.most_connections(),
            weight: (self.settings.balance == Balance::LeastConnections).then_some(weight),
            until: rested_at.into_iter().chain(warmer_at).chain(ends_at).min(),
        }
    }

    fn take(&self, place: usize, now: Instant) -> bool {
        let member = &self.members[place];
        let server = &member.server;
        if !server.load.take(member.most_connections()) {
            return false;
        }
        // After a rest one connection tries it, and others wait for what comes of that.
        let is_taken = self.settings.checked || server.rest.claim(now);
        if !is_taken {
            server.load.release();
        }
        is_taken
    }
}
