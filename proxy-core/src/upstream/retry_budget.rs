//! How many connects the servers of an upstream get beyond one for each connection.
//!
//! It is the budget of Finagle and Linkerd (`RetryBudget`: a share of what came in the last ten seconds, and ten a second
//! whatever came). Envoy's, a share of the requests that are active, would be one of the connections that are open: with a
//! thousand that last for hours, it would allow hundreds of connects at a time, and with none that last hardly one.
//!
//! Who connects for the first time counts that on its own worker. The account, which all workers share, is asked only where a
//! connect has failed: there what has come is added up.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::carry::{Error, Fields, Writer};

/// For how long connections that came earn retries, as in Finagle and Linkerd.
pub const RETRIES_EARNED_FOR: Duration = Duration::from_secs(10);

/// Retries a second that every budget allows, so that an upstream with few connections has some, as in Finagle and Linkerd.
pub const RETRIES_PER_SECOND_MIN: u64 = 10;

/// How many of these may come at once.
pub const RETRIES_AT_ONCE_MIN: u64 = 10;

/// One retry, in the parts that are counted in: a nanosecond earns [`RETRIES_PER_SECOND_MIN`] of them.
const RETRY: u64 = 1_000_000_000;

/// The budget of an upstream, over all workers and all its settings.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// Read once a connection, and written once.
    is_open: AtomicBool,
    account: Mutex<Option<Account>>,
}

/// What is left of a budget.
#[derive(Debug)]
struct Account {
    /// When it was asked last.
    at: Instant,
    /// Connections that had come by then.
    connections: u64,
    /// What they have earned that is not spent.
    earned: u64,
    /// What time has.
    reserve: u64,
}

impl RetryBudget {
    /// A connection connects for the first time.
    pub(crate) fn on_connect(&self, now: Instant) {
        if !self.is_open.load(Relaxed) {
            let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            account.get_or_insert_with(|| Account::new(now));
            self.is_open.store(true, Relaxed);
        }
    }

    /// Takes a retry, where `percent` of the connections that came may have one. False: there is none.
    pub(crate) fn take(
        &self,
        percent: u8,
        connections: impl FnOnce() -> u64,
        now: Instant,
    ) -> bool {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let account = account.get_or_insert_with(|| Account::new(now));
        account.take(percent, connections(), now)
    }
}

mod tag {
    pub(super) const AT: u8 = 0;
    pub(super) const EARNED: u8 = 1;
    pub(super) const RESERVE: u8 = 2;
}

impl RetryBudget {
    /// `connections` have come by now.
    pub(super) fn encode(
        &self,
        tag: u8,
        percent: u8,
        connections: u64,
        now: Instant,
        out: &mut Writer<'_>,
    ) {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = &mut *account {
            account.advance(percent, connections, now);
            out.nested(tag, |out| {
                out.moment(tag::AT, account.at);
                out.number(tag::EARNED, account.earned);
                out.number(tag::RESERVE, account.reserve);
            });
        }
    }

    pub(super) fn decode(&self, mut fields: Fields<'_>) -> Result<(), Error> {
        let what = "a budget for retries";
        let at = fields.moment(tag::AT, what)?;
        let earned = fields.count(tag::EARNED, what)?;
        let most = RETRIES_AT_ONCE_MIN * RETRY;
        let reserve = fields.number(tag::RESERVE, most, what)?;
        fields.finish()?;
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = account.as_ref().map_or(0, |account| account.connections);
        // Those that have come are counted where they came.
        *account = Some(Account {
            at,
            connections,
            earned,
            reserve,
        });
        self.is_open.store(true, Relaxed);
        Ok(())
    }
}

impl Account {
    fn new(now: Instant) -> Self {
        Self {
            at: now,
            connections: 0,
            earned: 0,
            reserve: RETRIES_AT_ONCE_MIN * RETRY,
        }
    }

    fn take(&mut self, percent: u8, connections: u64, now: Instant) -> bool {
        self.advance(percent, connections, now);
        if self.earned.saturating_add(self.reserve) < RETRY {
            return false;
        }
        // What is earned is lost in time, and the reserve stays.
        let earned = self.earned.min(RETRY);
        self.earned -= earned;
        self.reserve -= RETRY - earned;
        true
    }

    /// Earns what came since it was asked last, and loses what is old.
    fn advance(&mut self, percent: u8, connections: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let life = RETRIES_EARNED_FOR.as_nanos();
        let came = connections.saturating_sub(self.connections);
        self.at = self.at.max(now);
        self.connections = self.connections.max(connections);
        let earned = u128::from(came) * u128::from(percent) * u128::from(RETRY) / 100;
        // Of those that came while nobody asked, the last ten seconds' count, as if they had come evenly.
        let earned = earned * life / passed.max(life);
        let left = u128::from(self.earned) * life.saturating_sub(passed) / life;
        self.earned = u64::try_from(left + earned).unwrap_or(u64::MAX);
        let reserve = u128::from(self.reserve) + passed * u128::from(RETRIES_PER_SECOND_MIN);
        self.reserve = u64::try_from(reserve)
            .unwrap_or(u64::MAX)
            .min(RETRIES_AT_ONCE_MIN * RETRY);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::epoch::origin;

    /// How many retries it allows now.
    fn takes(account: &mut Account, percent: u8, connections: u64, now: Instant) -> u64 {
        let takes = (0..).take_while(|_| account.take(percent, connections, now));
        takes.count() as u64
    }

    #[test]
    fn it_is_the_share_of_the_connections_and_the_minimum() {
        let now = origin();
        for (percent, connections, share) in [
            (20, 0, 0),
            (20, 4, 0),
            (20, 5, 1),
            (20, 1000, 200),
            (1, 199, 1),
            (100, 77, 77),
            (0, 100_000, 0),
        ] {
            let all = takes(&mut Account::new(now), percent, connections, now);
            assert_eq!(
                all,
                share + RETRIES_AT_ONCE_MIN,
                "{percent} % of {connections}"
            );
        }
    }

    #[test]
    fn parts_of_a_retry_add_up() {
        let now = origin();
        let mut account = Account::new(now);
        assert_eq!(takes(&mut account, 20, 0, now), RETRIES_AT_ONCE_MIN);
        let granted = (1..=1000).filter(|&came| account.take(20, came, now));
        assert!(granted.eq((1..=200).map(|nth| nth * 5)));
    }

    #[test]
    fn the_minimum_comes_back_with_time() {
        let now = origin();
        let mut account = Account::new(now);
        assert_eq!(takes(&mut account, 20, 0, now), RETRIES_AT_ONCE_MIN);
        let each = Duration::from_secs(1) / RETRIES_PER_SECOND_MIN as u32;
        assert!(!account.take(20, 0, now + each - Duration::from_nanos(1)));
        assert_eq!(takes(&mut account, 20, 0, now + each), 1);
        let later = now + Duration::from_secs(3600);
        assert_eq!(takes(&mut account, 20, 0, later), RETRIES_AT_ONCE_MIN);
    }

    #[test]
    fn what_was_earned_is_worth_nothing_after_its_time() {
        let now = origin();
        let mut account = Account::new(now);
        assert!(account.take(20, 1000, now));
        let half = now + RETRIES_EARNED_FOR / 2;
        assert!(account.take(20, 1000, half));
        assert!((98 * RETRY..99 * RETRY).contains(&account.earned));
        let over = half + RETRIES_EARNED_FOR;
        assert_eq!(takes(&mut account, 20, 1000, over), RETRIES_AT_ONCE_MIN);
    }

    /// Hours without a failure count as their last ten seconds.
    #[test]
    fn a_quiet_time_leaves_what_its_last_seconds_have_earned() {
        let now = origin();
        let mut account = Account::new(now);
        let later = now + 360 * RETRIES_EARNED_FOR;
        let all = takes(&mut account, 20, 360_000, later);
        assert_eq!(all, 200 + RETRIES_AT_ONCE_MIN);
    }

    #[test]
    fn a_clock_that_is_behind_does_no_harm() {
        let now = origin() + RETRIES_EARNED_FOR;
        let mut account = Account::new(now);
        assert!(account.take(20, 100, now));
        assert!(account.take(20, 50, now - RETRIES_EARNED_FOR));
        assert_eq!(account.connections, 100);
        assert_eq!(takes(&mut account, 20, 100, now), 28);
    }

    #[test]
    fn workers_share_it() {
        let (budget, now) = (RetryBudget::default(), origin());
        budget.on_connect(now);
        let granted: u64 = std::thread::scope(|scope| {
            let worker = || (0..1000).filter(|_| budget.take(20, || 1000, now)).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            let granted = workers.into_iter().map(|worker| worker.join());
            granted.map(|count| count.expect("it counts") as u64).sum()
        });
        assert_eq!(granted, 200 + RETRIES_AT_ONCE_MIN);
    }

    proptest! {
        /// Whatever comes, and whenever it asks: no more than the share of what came, the minimum, and what time brought.
        #[test]
        fn no_more_than_promised(
            percent in 0_u8..=100,
            steps in prop::collection::vec((0_u64..200, 0_u64..3000, 0_usize..60), 1..60),
        ) {
            let begun_at = origin();
            let (mut account, mut now) = (Account::new(begun_at), begun_at);
            let (mut came, mut granted) = (0, 0);
            for (connections, millis, asks) in steps {
                came += connections;
                now += Duration::from_millis(millis);
                granted += (0..asks).filter(|_| account.take(percent, came, now)).count() as u64;
                let time = (now - begun_at).as_nanos() as u64 * RETRIES_PER_SECOND_MIN / RETRY;
                let most = came * u64::from(percent) / 100 + RETRIES_AT_ONCE_MIN + time;
                // A part of each of the three may make one more.
                prop_assert!(granted <= most + 1, "{} of {}", granted, most);
            }
        }

        /// Who asks for as many as its connections earn, while they earn them, gets them all.
        #[test]
        fn no_less_than_promised(
            percent in 1_u8..=100,
            steps in prop::collection::vec((0_u64..200, 0_u64..3000), 1..60),
        ) {
            let (mut account, mut now) = (Account::new(origin()), origin());
            let (mut came, mut asked) = (0, 0);
            for (connections, millis) in steps {
                came += connections;
                now += Duration::from_millis(millis);
                while (asked + 1) * 100 <= came * u64::from(percent) {
                    asked += 1;
                    prop_assert!(account.take(percent, came, now), "number {}", asked);
                }
            }
        }
    }
}
