//! A pool, as it serves those who wait for places.

use std::sync::Arc;
use std::time::Instant;

use crate::upstream::board::{Class, Ranked};
use crate::upstream::pool::{Ask, Pool, Unserved};
use crate::upstream::queue::Wish;
use crate::upstream::taken::Taken;

impl Pool {
    /// It is in force: those who wait for its upstream are served by it from now on.
    pub(crate) fn serve_waiting(self: &Arc<Self>) {
        self.upstream().common.queue.follow(self);
    }

    /// Whether others wait for places, so that who comes now is to wait, too.
    pub(crate) fn has_waiting(&self) -> bool {
        self.settings().queue.is_some() && self.upstream().common.queue.has_any()
    }

    /// Takes a place for a connection that waits.
    pub(crate) fn take_for(&self, wish: &Wish, now: Instant) -> Result<(usize, Taken), Unserved> {
        self.try_take(&wish.tried, Ask::Able, wish.hash, now)
    }

    /// The pools that stand in for this one, one after the other.
    pub(crate) fn stand_ins(&self) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(self.fallback(), |pool| pool.fallback())
    }

    /// Takes a place for a connection that waits at a pool that stands in, where nobody waits for it.
    pub(crate) fn take_elsewhere(
        &self,
        wish: &Wish,
        now: Instant,
    ) -> Option<(Arc<Self>, usize, Taken)> {
        self.stand_ins().find_map(|pool| {
            if !pool.has_able(now) {
                return None;
            }
            let taken = pool.try_take(&[], Ask::Able, wish.hash, now);
            if taken.is_err() {
                // Somebody may have found it full meanwhile. Those who wait elsewhere look again after this.
                pool.upstream().common.queue.on_free();
            }
            let (server, taken) = taken.ok()?;
            Some((pool.clone(), server, taken))
        })
    }

    /// Where servers of another pool are in this one, those that are.
    pub(crate) fn places_of(&self, other: &Self, places: &[usize]) -> Vec<usize> {
        let servers = places.iter().map(|&place| other.server(place));
        let places = servers.filter_map(|server| {
            let mut own = self.servers();
            own.position(|own| Arc::ptr_eq(own, server))
        });
        places.collect()
    }

    /// When time alone may let a server serve that can't now.
    pub(crate) fn changes_at(&self, now: Instant) -> Option<Instant> {
        let seats = (0..self.members().len()).map(|place| self.seat(place, now));
        let out = seats.filter(|seat| seat.class == Class::Out);
        let elsewhere = self.fallback().and_then(|pool| pool.changes_at(now));
        out.filter_map(|seat| seat.until).chain(elsewhere).min()
    }
}
