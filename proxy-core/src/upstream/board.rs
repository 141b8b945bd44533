//! The order of an upstream's servers where the next one is the best of all: by connections, or by place.
//!
//! It stands behind a lock that is held for one pick, or for one connection that ends: some dozen comparisons. So a pick and its
//! count are one step over all workers. Nothing is held, and nothing written, for a message.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::id::Id;
use crate::upstream::policy::pressure;
use crate::upstream::policy::ranking::Ranking;
use crate::upstream::server::Server;

/// What orders servers: the smallest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) class: Class,
    /// How loaded it is, or its place.
    pub(crate) by: u64,
    /// When it was picked last: equals take turns.
    pub(crate) picked: u64,
}

/// Whether a server is in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Primary,
    Backup,
    /// It gets no connection now.
    Out,
}

/// What a pool says of its servers.
pub(crate) trait Ranked {
    /// Its number; later ones are newer.
    fn number(&self) -> Id;
    fn count(&self) -> usize;
    fn server(&self, place: usize) -> &Server;
    /// What there is to know of a server now.
    fn seat(&self, place: usize, now: Instant) -> Seat;
    /// Counts a connection to a server. False when it can't have one.
    fn take(&self, place: usize, now: Instant) -> bool;
}

/// What a board remembers of a server, to rank it again when one of its connections begins elsewhere or ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) server: Id,
    /// Its class while it is not full.
    pub(crate) class: Class,
    pub(crate) max: Option<u64>,
    /// In 256ths; none where ranks are places.
    pub(crate) weight: Option<u64>,
    /// When this changes by time alone.
    pub(crate) until: Option<Instant>,
}

/// What came of asking the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A connection to it is counted.
    Taken(usize),
    /// None can have one.
    NoneLeft,
    /// A newer pool has the board.
    Newer,
}

/// The order that the newest pool has of an upstream's servers.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// A pool uses it. Else connections cost nothing here.
    is_used: AtomicBool,
    /// Counts changes of servers' states, of which ranks depend.
    changes: AtomicU64,
    order: Mutex<Order>,
}

#[derive(Debug, Default)]
struct Order {
    pool: Option<Id>,
    /// What [`Board::changes`] was.
    changes: u64,
    changes_at: Option<Instant>,
    seats: Vec<Seat>,
    ranking: Option<Ranking<Rank>>,
    /// Over all pools.
    picks: u64,
}

impl Board {
    /// A server's state has changed.
    pub(crate) fn on_change(&self) {
        self.changes.fetch_add(1, SeqCst);
    }

    /// Takes the best server of a pool.
    pub(crate) fn take(&self, pool: &impl Ranked, now: Instant) -> Asked {
        let mut order = self.lock();
        if order.pool.is_some_and(|owner| owner > pool.number()) {
            return Asked::Newer;
        }
        let changes = self.changes.load(SeqCst);
        let is_due = order.changes_at.is_some_and(|at| at <= now);
        if order.pool != Some(pool.number()) || order.changes != changes || is_due {
            // Whoever counts from here on finds the board in use, and waits for the lock.
            self.is_used.store(true, SeqCst);
            order.rank_all(pool, changes, now);
        }
        // Each time that a server can't be taken it is out.
        for _ in 0..=order.seats.len() {
            let first = order.ranking.as_ref().and_then(Ranking::first);
            let Some((place, _)) = first.filter(|(_, rank)| rank.class != Class::Out) else {
                break;
            };
            let is_taken = pool.take(place, now);
            if is_taken {
                order.picks += 1;
                pool.server(place).picked.store(order.picks, Relaxed);
            }
            order.rank_again(pool, place, now);
            if is_taken {
                return Asked::Taken(place);
            }
        }
        Asked::NoneLeft
    }

    /// A pool that has no need of it is in force.
    pub(crate) fn leave(&self, pool: Id) {
        if self.is_used.load(SeqCst) {
            let mut order = self.lock();
            if order.pool.is_some_and(|owner| owner < pool) {
                let picks = order.picks;
                *order = Order {
                    picks,
                    ..Order::default()
                };
                self.is_used.store(false, SeqCst);
            }
        }
    }

    /// A server has one connection more or less.
    pub(crate) fn on_load(&self, server: &Server) {
        if self.is_used.load(SeqCst) {
            self.lock().update(server);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn rank_all(&mut self, pool: &impl Ranked, changes: u64, now: Instant) {
        self.pool = Some(pool.number());
        self.changes = changes;
        self.seats.clear();
        let mut ranks = Vec::with_capacity(pool.count());
        self.changes_at = None;
        for place in 0..pool.count() {
            let server = pool.server(place);
            server.seat.store(place as u64, Relaxed);
            let seat = pool.seat(place, now);
            self.note(seat.until);
            self.seats.push(seat);
            ranks.push(seat.rank(server, place));
        }
        self.ranking = Some(Ranking::new(ranks));
    }

    /// A server was taken, or could not be.
    fn rank_again(&mut self, pool: &impl Ranked, place: usize, now: Instant) {
        let seat = pool.seat(place, now);
        self.note(seat.until);
        self.seats[place] = seat;
        if let Some(ranking) = &mut self.ranking {
            ranking.set(place, seat.rank(pool.server(place), place));
        }
    }

    fn note(&mut self, changes_at: Option<Instant>) {
        let times = self.changes_at.into_iter().chain(changes_at);
        self.changes_at = times.min();
    }

    fn update(&mut self, server: &Server) {
        let place = server.seat.load(Relaxed) as usize;
        let is_it = |seat: &&Seat| seat.server == server.id;
        let (Some(seat), Some(ranking)) =
            (self.seats.get(place).filter(is_it), self.ranking.as_mut())
        else {
            return;
        };
        ranking.set(place, seat.rank(server, place));
    }
}

impl Seat {
    fn rank(&self, server: &Server, place: usize) -> Rank {
        let is_full = server.load.is_full(self.max);
        Rank {
            class: if is_full { Class::Out } else { self.class },
            by: match self.weight {
                Some(weight) => pressure(server.load.get(), weight),
                None => place as u64,
            },
            picked: server.picked.load(Relaxed),
        }
    }
}
