//! A connection that waits for a place, as all servers that could serve it are full.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
pub(super) struct WaitTurn {
    number: u64,
    deadline: Instant,
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
            since: now,
            deadline: turn.map_or(now + timeout, |turn| turn.deadline),
            has_heard: false,
        })
    }

    pub(super) fn turn(&self) -> WaitTurn {
        WaitTurn {
            number: self.place.number(),
            deadline: self.deadline,
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
