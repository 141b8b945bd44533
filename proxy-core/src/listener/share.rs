//! A listener's part of the CPU against the other listeners.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::relay::flow::{TURN_BYTES_MAX, TURN_BYTES_MIN};

/// The most shares that a listener can have, and what it has by default.
pub const SHARES_MAX: u16 = 1000;

/// How long a turn of [`TURN_BYTES_MAX`] takes that splices, of which a GB takes 0.16 s (docs/BENCHMARKS.md, of an AMD
/// EPYC). Copying takes four times as long.
const LONGEST_TURN: Duration = Duration::from_micros(40);

/// Shares, and what a scheduler without task queues makes of them. Both may change while connections run.
#[derive(Debug)]
pub struct Share {
    shares: AtomicU16,
    turn_bytes: AtomicUsize,
    /// The most that `turn_bytes` may be.
    turn_limit: AtomicUsize,
}

impl Share {
    /// CPU shares against other listeners on the same core, 1 to [`SHARES_MAX`].
    pub fn shares(&self) -> u16 {
        self.shares.load(Relaxed)
    }

    /// Sets the shares. Those beyond the limits are the limit.
    pub fn set_shares(&self, shares: u16) {
        self.shares.store(shares.clamp(1, SHARES_MAX), Relaxed);
    }

    /// Bytes that a direction of a connection forwards before others get their turn.
    pub fn turn_bytes(&self) -> usize {
        self.turn_bytes.load(Relaxed)
    }

    /// Shortens turns to what takes about so long, since a turn can't be interrupted: down to [`TURN_BYTES_MIN`], for
    /// times of less than 2.5 µs, and no longer than [`TURN_BYTES_MAX`], from 40 µs on.
    pub fn limit(&self, time: Duration) {
        let part = time.min(LONGEST_TURN).div_duration_f64(LONGEST_TURN);
        let limit = ((TURN_BYTES_MAX as f64 * part) as usize).max(TURN_BYTES_MIN);
        self.turn_limit.store(limit, Relaxed);
        self.turn_bytes.fetch_min(limit, Relaxed);
    }

    /// Weighs turns by shares: for a scheduler that gives all connections their turns in order, as Tokio's do. The
    /// listener with the most shares has turns of [`TURN_BYTES_MAX`]; the others have so much less, down to
    /// [`TURN_BYTES_MIN`]. None has more than its [limit](Self::limit).
    ///
    /// It says nothing of how many connections a listener has, and nothing of who sends little: a turn that ends by itself
    /// is as long as it is.
    pub fn weigh<'a>(all: impl Iterator<Item = &'a Self> + Clone) {
        let most = all.clone().map(Self::shares).max().unwrap_or(SHARES_MAX);
        for share in all {
            let part = TURN_BYTES_MAX * usize::from(share.shares()) / usize::from(most.max(1));
            let limit = share.turn_limit.load(Relaxed);
            share
                .turn_bytes
                .store(part.clamp(TURN_BYTES_MIN, limit), Relaxed);
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self {
            shares: AtomicU16::new(SHARES_MAX),
            turn_bytes: AtomicUsize::new(TURN_BYTES_MAX),
            turn_limit: AtomicUsize::new(TURN_BYTES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_as_short_as_the_latency_that_is_wanted() {
        let limited = |time| {
            let share = Share::default();
            share.limit(time);
            share.turn_bytes()
        };
        assert_eq!(limited(Duration::ZERO), TURN_BYTES_MIN);
        assert_eq!(limited(Duration::from_micros(10)), 64 * 1024);
        assert_eq!(limited(Duration::from_micros(40)), TURN_BYTES_MAX);
        assert_eq!(limited(Duration::MAX), TURN_BYTES_MAX);
    }

    #[test]
    fn turns_are_weighed_against_the_most() {
        let shares = [10, 100, 1].map(|shares| {
            let share = Share::default();
            share.set_shares(shares);
            share
        });
        assert_eq!(shares[0].turn_bytes(), TURN_BYTES_MAX);
        Share::weigh(shares.iter());
        let turns = shares.each_ref().map(Share::turn_bytes);
        assert_eq!(turns, [TURN_BYTES_MAX / 10, TURN_BYTES_MAX, TURN_BYTES_MIN]);
        shares[1].limit(Duration::from_micros(10));
        shares[0].limit(Duration::from_micros(10));
        Share::weigh(shares.iter());
        assert_eq!(shares[1].turn_bytes(), TURN_BYTES_MAX / 4);
        assert_eq!(shares[0].turn_bytes(), TURN_BYTES_MAX / 10);
        // Whoever is alone has all.
        Share::weigh(shares[2..].iter());
        assert_eq!(shares[2].turn_bytes(), TURN_BYTES_MAX);
    }
}
