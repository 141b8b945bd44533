//! Connects beyond the first one, where the upstream has a budget for them: whether there is one left, and when to try a server
//! again that has failed already.

mod carried;

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::connection::attempts::Attempts;
use crate::connection::connect::queued::WaitTurn;
use crate::connection::connect::{Attempting, Connect, Next, NoServer, Refusal, SERVERS_TRIED_MAX};
use crate::connection::entry::Entry;
use crate::connection::first::First;
use crate::connection::origin::ClientAddress;
use crate::metrics::ConnectFailure;
use crate::route::Destination;
use crate::runtime::{Runtime, Timer};
use crate::upstream::addresses::Walk;
use crate::upstream::outage::Fault;
use crate::upstream::policy::hash::mix;
use crate::upstream::pool::Pool;
use crate::upstream::taken::Taken;
use crate::worker::Worker;

/// The longest pause before servers are tried again that have all failed; each following one is twice as long. It is Envoy's
/// `base_interval`.
pub const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// No pause is longer. It is HAProxy's, before the same server is tried again.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a connection knows of its retries.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// One is paid for and not made yet.
    is_paid: bool,
    /// The budget had none left: nothing more is tried.
    is_refused: bool,
    /// How often it began again with all servers.
    rounds: u32,
    /// When it does so next.
    pauses_until: Option<Instant>,
    /// The server that ended the connection before anything was sent to it.
    ended: Option<Ended>,
}

/// A server that took a connection and ended it.
#[derive(Debug)]
struct Ended {
    place: usize,
    taken: Taken,
    walk: Walk,
    fault: Fault,
}

/// The search for a server, while one is on probation that was found. Nothing in it is a scheduler's.
#[derive(Debug)]
pub(crate) struct Search {
    accepted_at: Instant,
    client: ClientAddress,
    destination: Destination,
    fallbacks: u16,
    first: Option<Box<First>>,
    tried: Vec<usize>,
    failed: usize,
    retries: Option<Box<Retries>>,
    turn: Option<WaitTurn>,
    /// The place of the server that was found, and its other addresses.
    place: usize,
    walk: Walk,
}

impl<R: Runtime> Connect<R> {
    /// Counts a connect that is to be made, and whether it may be. The first one at an upstream may; others must be paid for
    /// where it has a budget.
    pub(super) fn may_connect(&mut self, pool: &Pool, worker: &Worker, is_first: bool) -> bool {
        let upstream = pool.upstream();
        let cells = upstream.cells.of(worker.slot());
        if pool.settings().retry_budget.is_some() {
            if is_first {
                cells.connections.increment();
                upstream.retry_budget.on_connect(worker.now);
            } else if !self.pay(pool, worker) {
                return false;
            }
            if let Some(retries) = &mut self.retries {
                retries.is_paid = false;
            }
        }
        if self.failed > 0 || !is_first {
            cells.retries.increment();
        }
        true
    }

    /// Whether the next connect is the first one at its upstream.
    pub(super) fn is_first(&self) -> bool {
        let retries = self.retries.as_ref();
        self.tried.is_empty() && retries.is_none_or(|retries| retries.rounds == 0)
    }

    /// Whether the budget had no retry left for it.
    pub(super) fn is_refused(&self) -> bool {
        let retries = self.retries.as_ref();
        retries.is_some_and(|retries| retries.is_refused)
    }

    /// The budget had none left for a connect beside others: that one is not made, and that is all.
    pub(super) fn forgive(&mut self) {
        if let Some(retries) = &mut self.retries {
            retries.is_refused = false;
        }
    }

    /// Pays for one retry, unless that was done.
    fn pay(&mut self, pool: &Pool, worker: &Worker) -> bool {
        let retries = self.retries.get_or_insert_default();
        retries.is_paid = retries.is_paid || pool.take_retry(worker.slot(), worker.now);
        retries.is_refused = !retries.is_paid;
        retries.is_paid
    }

    /// Until when an attempt that begins now may take: no longer than an only one could, if servers are tried again.
    pub(super) fn deadline(&self, pool: &Pool, now: Instant) -> Instant {
        let timeout = pool.settings().connect_timeout;
        match &self.retries {
            // Where that is over, it has waited for a place meanwhile: the server is not to blame.
            Some(retries) if retries.rounds > 0 && now < self.gives_up_at(timeout) => {
                self.gives_up_at(timeout)
            }
            _ => now + timeout,
        }
    }

    /// When no server is tried again any more.
    fn gives_up_at(&self, timeout: Duration) -> Instant {
        self.accepted_at + self.attempts.wait().unwrap_or_default() + timeout
    }

    /// All servers have failed: whether they are tried again, after a pause.
    pub(super) fn begin_again(&mut self, why: NoServer, worker: &Worker, entry: &Entry) -> bool {
        let pool = self.pool(entry.settings());
        let has_tried = why == NoServer::Failed && !self.tried.is_empty();
        if pool.settings().retry_budget.is_none()
            || !has_tried
            || self.failed >= SERVERS_TRIED_MAX
            || self.is_refused()
        {
            return false;
        }
        let rounds = self.retries.as_ref().map_or(0, |retries| retries.rounds);
        let until = worker.now + pause(rounds, entry.record.id());
        if until >= self.gives_up_at(pool.settings().connect_timeout) || !self.pay(&pool, worker) {
            return false;
        }
        let retries = self.retries.get_or_insert_default();
        retries.rounds += 1;
        retries.pauses_until = Some(until);
        self.tried.clear();
        true
    }

    /// Ready when there is no pause any more.
    pub(super) fn poll_pause(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        timer: &mut R::Timer,
    ) -> Poll<()> {
        let Some(until) = self.pauses_until() else {
            return Poll::Ready(());
        };
        if worker.now < until {
            let check_at = match self.client_lost {
                None => self.client_check_at,
                Some(_) => until,
            };
            // The client was looked at just now: this only arms.
            let _ = timer.poll_until(cx, worker.now, until.min(check_at));
            return Poll::Pending;
        }
        if let Some(retries) = &mut self.retries {
            retries.pauses_until = None;
        }
        Poll::Ready(())
    }

    fn pauses_until(&self) -> Option<Instant> {
        self.retries.as_ref()?.pauses_until
    }

    /// Goes on behind a server that ended the connection.
    pub(super) fn pass_over(&mut self, runtime: &R, worker: &Worker, entry: &Entry) {
        let ended = self
            .retries
            .as_mut()
            .and_then(|retries| retries.ended.take());
        if let Some(ended) = ended {
            let pool = self.pool(entry.settings());
            let refusal = Refusal {
                fault: ended.fault,
                is_ours: false,
            };
            let attempting = Attempting::new(ended.place, ended.taken, ended.walk);
            self.attempt(runtime, worker, &pool, attempting, Next::After(refusal));
        }
    }

    /// What finding another server would begin with; none where the upstream has no budget for that. `first` is what the server
    /// gets first of what the client said.
    pub(crate) fn into_search(
        self,
        pool: &Pool,
        first: Option<&First>,
        (place, walk): (usize, Walk),
    ) -> Option<Search> {
        pool.settings().retry_budget.map(|_| Search {
            accepted_at: self.accepted_at,
            client: self.client,
            destination: self.destination,
            fallbacks: self.fallbacks,
            first: first.map(|first| Box::new(first.clone())),
            tried: self.tried,
            failed: self.failed,
            retries: self.retries,
            turn: self.turn,
            place,
            walk,
        })
    }
}

impl Search {
    /// Which pool it has come to.
    pub(crate) fn way(&self) -> (Destination, u16) {
        (self.destination, self.fallbacks)
    }

    /// The server that was found has ended the connection, and had nothing of the client's. Counts that, and returns whether
    /// another connect may be made.
    pub(crate) fn on_end(&mut self, pool: &Pool, attempts: &mut Attempts, worker: &Worker) -> bool {
        let reason = ConnectFailure::Closed;
        attempts.on_failure(reason);
        let server = pool.server(self.place);
        let cells = server.cells.of(worker.slot());
        cells.failures[reason as usize].increment();
        tracing::debug!(
            upstream = pool.upstream().name,
            server = server.label,
            "the server accepted a connection and ended it at once"
        );
        self.walk.on_failure(worker.now);
        let retries = self.retries.get_or_insert_default();
        retries.is_paid =
            self.failed + 1 < SERVERS_TRIED_MAX && pool.take_retry(worker.slot(), worker.now);
        if !retries.is_paid {
            if self.walk.is_over() {
                pool.note_attempt(self.place, Err(reason.into()), worker.now);
            } else if pool.early().is_some() {
                pool.judge_first_word(self.place, false, worker.now);
            }
        }
        retries.is_paid
    }

    /// The connect phase again, behind the server that ended the connection.
    pub(crate) fn resume<R: Runtime>(
        self,
        taken: Taken,
        attempts: Attempts,
        now: Instant,
    ) -> Connect<R> {
        let mut retries = self.retries.unwrap_or_default();
        retries.ended = Some(Ended {
            place: self.place,
            taken,
            walk: self.walk,
            fault: ConnectFailure::Closed.into(),
        });
        Connect {
            attempts,
            fallbacks: self.fallbacks,
            tried: self.tried,
            failed: self.failed,
            retries: Some(retries),
            turn: self.turn,
            ..Connect::new(
                self.accepted_at,
                self.client,
                self.destination,
                self.first,
                now,
            )
        }
    }
}

/// How long to wait before servers are tried again that have all failed, for the `round`th time: between nothing and a length
/// that doubles, so that those who failed together don't come again together ("full jitter", of which Marc Brooker's
/// "Exponential Backoff And Jitter" in the AWS Architecture Blog shows that it makes the fewest calls).
fn pause(round: u32, id: u64) -> Duration {
    let longest = RETRY_PAUSE
        .saturating_mul(1 << round.min(16))
        .min(RETRY_PAUSE_MAX);
    let nanos = longest.as_nanos() as u64;
    Duration::from_nanos(mix(id.wrapping_add(u64::from(round) << 48)) % (nanos + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread_evenly() {
        const IDS: u64 = 10_000;
        for round in 0..40 {
            let longest = (RETRY_PAUSE * (1 << round.min(10))).min(RETRY_PAUSE_MAX);
            let mut tenths = [0_u64; 10];
            for id in 0..IDS {
                let pause = pause(round, id);
                assert!(pause <= longest, "{pause:?} in round {round}");
                tenths[((pause.as_secs_f64() / longest.as_secs_f64() * 10.0) as usize).min(9)] += 1;
            }
            let wanted = IDS as f64 / 10.0;
            let squares = tenths.map(|count| (count as f64 - wanted).powi(2) / wanted);
            // Nine degrees of freedom: once in a thousand is 27.9 exceeded. The numbers are always the same ones.
            let chi_square: f64 = squares.iter().sum();
            assert!(
                chi_square < 27.9,
                "{chi_square} in round {round}: {tenths:?}"
            );
        }
    }

    #[test]
    fn a_connection_has_other_pauses_each_time() {
        let pauses: Vec<_> = (10..20).map(|round| pause(round, 7)).collect();
        let different = pauses.iter().enumerate();
        assert!(
            different
                .clone()
                .all(|(nth, one)| pauses[..nth].iter().all(|other| other != one)),
            "{pauses:?}"
        );
    }
}
