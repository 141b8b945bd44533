//! The order of those who wait, and what the first of them get.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::upstream::board::Ranked;
use crate::upstream::pool::{Pool, Unserved};
use crate::upstream::taken::Taken;

/// Connections that have tried servers in vain, and are passed over as what is free is none of the others: of more, only those
/// behind them that have tried nothing are asked.
const PASSED_OVER_MAX: usize = 64;

/// Numbers that another process may still give out after it has said where it is.
const NUMBERS_OF_ANOTHER: u64 = 1 << 32;

/// How soon the first one looks again at the earliest, where time alone lets a server serve.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What a connection asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    /// What a server is chosen by, where it is by a hash.
    pub(crate) hash: u64,
    /// Places of servers, in its pool, that it doesn't want.
    pub(crate) tried: Vec<usize>,
}

/// What a connection that waits is told when it runs.
#[derive(Debug)]
pub(crate) enum Polled {
    /// It waits no more.
    Answered(Answer),
    /// It waits on, and is to run again at this moment, if there is one.
    Waits(Option<Instant>),
}

/// What a connection is told that has waited.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It has a place.
    Granted(Grant),
    /// None of the servers that it waits for is up any more: it is to look for another way.
    NoneUp,
}

/// A server's place, handed to a connection.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The newest pool of the upstream, or of one that stands in for it.
    pub(crate) pool: Arc<Pool>,
    /// The server's place there.
    pub(crate) server: usize,
    pub(crate) taken: Taken,
    /// Servers that were tried, as places there.
    pub(crate) tried: Vec<usize>,
}

/// Those who wait, by their numbers: the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Line {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    /// Those that have not heard it yet.
    answered: BTreeMap<u64, Answer>,
    /// The newest pool of those who wait. Kept only while some do, as it knows this line.
    pool: Option<Arc<Pool>>,
    /// The latest time that anybody told.
    now: Option<Instant>,
    /// When time alone may let a server serve, and who has a timer for it.
    looks_at: Option<Instant>,
    looker: Option<(u64, Instant)>,
}

#[derive(Debug)]
struct Waiter {
    wish: Wish,
    since: Instant,
    /// None before it is polled.
    waker: Option<Waker>,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Since when the one waits that has waited the longest.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.waiting.values().next().map(|waiter| waiter.since)
    }

    /// Has the first one run.
    pub(crate) fn first(&self) -> Option<Waker> {
        let mut wakers = self.waiting.values().map(|waiter| waiter.waker.clone());
        wakers.next()?
    }

    /// A place in the order behind everybody.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether somebody has this number.
    pub(crate) fn has(&self, number: u64) -> bool {
        self.waiting.contains_key(&number) || self.answered.contains_key(&number)
    }

    /// The last number that was given out.
    pub(crate) fn last(&self) -> u64 {
        self.next
    }

    /// Numbers that are given out from now on are behind those of another process, which has given out this one last, and gives out
    /// few more.
    pub(crate) fn follow_numbers(&mut self, last: u64) {
        self.next = self.next.max(last.saturating_add(NUMBERS_OF_ANOTHER));
    }

    /// Enters a connection whose servers are those of `pool`. Returns whether it may find a place at once: else somebody before
    /// it has found that there is none.
    pub(crate) fn join(
        &mut self,
        number: u64,
        pool: &Arc<Pool>,
        mut wish: Wish,
        now: Instant,
    ) -> bool {
        self.note(now);
        self.follow(pool);
        let newest = self.pool.get_or_insert_with(|| pool.clone());
        if !Arc::ptr_eq(newest, pool) {
            wish.tried = newest.places_of(pool, &wish.tried);
        }
        let mut before = self.waiting.range(..number);
        let is_behind = before.any(|(_, waiter)| waiter.wish.tried.is_empty());
        let waiter = Waiter {
            wish,
            since: now,
            waker: None,
        };
        self.waiting.insert(number, waiter);
        !is_behind
    }

    /// Those who wait are served by this pool from now on, unless theirs is newer.
    pub(crate) fn follow(&mut self, pool: &Arc<Pool>) {
        let Some(before) = self
            .pool
            .as_mut()
            .filter(|own| own.number() < pool.number())
        else {
            return;
        };
        for waiter in self.waiting.values_mut() {
            let tried = &mut waiter.wish.tried;
            *tried = pool.places_of(before, tried);
        }
        *before = pool.clone();
    }

    /// Gives `most` connections places, the first ones first, as far as there are any. Returns who is to run.
    pub(crate) fn serve(&mut self, most: usize) -> Vec<Waker> {
        let mut woken = Vec::new();
        let (Some(pool), Some(now)) = (self.pool.clone(), self.now) else {
            return woken;
        };
        let (mut granted, mut passed_over, mut from) = (0, 0, 0);
        let mut is_full = false;
        while granted < most {
            let Some((&number, waiter)) = self.waiting.range(from..).next() else {
                break;
            };
            from = number + 1;
            let has_tried = !waiter.wish.tried.is_empty();
            if has_tried && passed_over == PASSED_OVER_MAX {
                continue;
            }
            match pool.take_for(&waiter.wish, now) {
                Ok((server, taken)) => {
                    granted += 1;
                    let pool = pool.clone();
                    self.answer(number, &mut woken, |tried| {
                        Answer::Granted(Grant {
                            pool,
                            server,
                            taken,
                            tried,
                        })
                    });
                }
                Err(Unserved::Down) => self.answer(number, &mut woken, |_| Answer::NoneUp),
                Err(Unserved::Full) => {
                    if let Some((pool, server, taken)) = pool.take_elsewhere(&waiter.wish, now) {
                        granted += 1;
                        self.answer(number, &mut woken, |_| {
                            Answer::Granted(Grant {
                                pool,
                                server,
                                taken,
                                tried: Vec::new(),
                            })
                        });
                        continue;
                    }
                    is_full = true;
                    if !has_tried {
                        break;
                    }
                    passed_over += 1;
                }
            }
        }
        if is_full {
            let at = pool.changes_at(now);
            self.looks_at = at.map(|at| at.max(now + LOOK_INTERVAL_MIN));
        }
        self.settle(&mut woken);
        woken
    }

    /// Tells a connection what came of its wait. It is not waiting then.
    fn answer(
        &mut self,
        number: u64,
        woken: &mut Vec<Waker>,
        answer: impl FnOnce(Vec<usize>) -> Answer,
    ) {
        if let Some(waiter) = self.waiting.remove(&number) {
            self.answered.insert(number, answer(waiter.wish.tried));
            woken.extend(waiter.waker);
        }
    }

    /// What a connection was answered; else it is woken by `waker` when it is.
    pub(crate) fn poll(
        &mut self,
        number: u64,
        now: Instant,
        waker: impl FnOnce() -> Waker,
        woken: &mut Vec<Waker>,
    ) -> Polled {
        self.note(now);
        if !self.answered.contains_key(&number) && self.looks_at.is_some_and(|at| at <= now) {
            self.looks_at = None;
            woken.extend(self.serve(usize::MAX));
        }
        if let Some(answer) = self.answered.remove(&number) {
            return Polled::Answered(answer);
        }
        if let Some(waiter) = self.waiting.get_mut(&number) {
            waiter.waker = Some(waker());
        }
        let (looker, at) = self.looker.unzip();
        Polled::Waits(at.filter(|_| looker == Some(number)))
    }

    /// A connection is gone, whether it was answered or not. Its place is the caller's to drop, not under the lock.
    pub(crate) fn leave(&mut self, number: u64, woken: &mut Vec<Waker>) -> Option<Answer> {
        self.waiting.remove(&number);
        let answer = self.answered.remove(&number);
        self.settle(woken);
        answer
    }

    /// Has the first one wait for what time alone changes.
    fn settle(&mut self, woken: &mut Vec<Waker>) {
        if self.waiting.is_empty() {
            (self.pool, self.looks_at, self.looker) = (None, None, None);
            return;
        }
        let looker = self
            .looker
            .filter(|(number, at)| self.waiting.contains_key(number) && Some(*at) == self.looks_at);
        let first = self.waiting.iter().next();
        self.looker = looker.or_else(|| {
            let ((number, waiter), at) = (first?, self.looks_at?);
            woken.extend(waiter.waker.clone());
            Some((*number, at))
        });
    }

    /// The first one that has tried nothing.
    #[cfg(test)]
    pub(crate) fn first_fresh(&self) -> Option<u64> {
        let mut waiting = self.waiting.iter();
        let first = waiting.find(|(_, waiter)| waiter.wish.tried.is_empty());
        first.map(|(&number, _)| number)
    }

    fn note(&mut self, now: Instant) {
        self.now = self.now.max(Some(now));
    }
}
