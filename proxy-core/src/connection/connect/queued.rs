//! A connection that waits for a place, as all servers that could serve it are full.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::carry::{Error, Fields, Writer};
use crate::runtime::{Runtime, Timer};
use crate::upstream::pool::Pool;
use crate::upstream::queue::{Answer, Grant, Place, Polled, Wish};
use crate::worker::Worker;

/// Its place among those who wait.
#[derive(Debug)]
pub(crate) struct Queued {
    place: Place,
    since: Instant,
    deadline: Instant,
    /// Its client has said something meanwhile.
    pub(super) has_heard: bool,
}

/// The turn of a connection that has waited: it keeps it where it has to wait once more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitTurn {
    number: u64,
    deadline: Instant,
    /// Since when it waits, where it goes on with that wait.
    since: Option<Instant>,
}

/// What came of a wait.
#[derive(Debug)]
pub(super) enum Waited {
    Granted(Grant),
    /// None of the servers that it waited for is up any more.
    NoneUp,
    /// It took too long.
    Late,
}

impl Queued {
    /// Joins those who wait for servers of `pool`; none when as many wait as may.
    pub(super) fn join(
        pool: &Arc<Pool>,
        hash: u64,
        tried: &[usize],
        turn: Option<WaitTurn>,
        now: Instant,
    ) -> Option<Self> {
        let timeout = pool.settings().queue?.timeout;
        let tried = tried.to_vec();
        let number = turn.map(|turn| turn.number);
        let place = Place::join(pool, Wish { hash, tried }, number, now)?;
        Some(Self {
            place,
            since: turn.and_then(|turn| turn.since).unwrap_or(now),
            deadline: turn.map_or(now + timeout, |turn| turn.deadline),
            has_heard: false,
        })
    }

    pub(super) fn turn(&self) -> WaitTurn {
        WaitTurn {
            number: self.place.number(),
            deadline: self.deadline,
            since: None,
        }
    }

    /// For one that goes on with this wait elsewhere.
    pub(super) fn turn_to_go_on(&self) -> WaitTurn {
        WaitTurn {
            since: Some(self.since),
            ..self.turn()
        }
    }

    /// How long it has waited.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(super) fn poll<R: Runtime>(
        &self,
        cx: &mut Context<'_>,
        runtime: &R,
        worker: &Worker,
        timer: &mut R::Timer,
    ) -> Poll<Waited> {
        loop {
            let looks_at = match self.place.poll(worker.now, || runtime.waker(cx)) {
                Polled::Answered(Answer::Granted(grant)) => {
                    return Poll::Ready(Waited::Granted(grant));
                }
                Polled::Answered(Answer::NoneUp) => return Poll::Ready(Waited::NoneUp),
                Polled::Waits(looks_at) => looks_at,
            };
            if self.deadline <= worker.now {
                return Poll::Ready(Waited::Late);
            }
            let wake_at = looks_at.map_or(self.deadline, |at| at.min(self.deadline));
            if timer.poll_until(cx, worker.now, wake_at).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

mod tag {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const DEADLINE: u8 = 1;
    pub(super) const SINCE: u8 = 2;
}

impl WaitTurn {
    pub(crate) fn encode(self, out: &mut Writer<'_>) {
        out.number(tag::NUMBER, self.number);
        out.moment(tag::DEADLINE, self.deadline);
        out.maybe_moment(tag::SINCE, self.since);
    }

    pub(crate) fn decode(mut fields: Fields<'_>) -> Result<Self, Error> {
        let turn = Self {
            number: fields.count(tag::NUMBER, "a place in a line")?,
            deadline: fields.moment(tag::DEADLINE, "when a wait ends")?,
            since: fields.maybe_moment(tag::SINCE, "when a wait began")?,
        };
        fields.finish()?;
        Ok(turn)
    }
}

#[cfg(test)]
impl WaitTurn {
    pub(crate) fn of(number: u64, deadline: Instant, since: Instant) -> Self {
        Self {
            number,
            deadline,
            since: Some(since),
        }
    }
}
