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

    /// Sets how long the turns of all listeners are.
    ///
    /// `latency` shortens them to what takes about so long, since a turn can't be interrupted: down to [`TURN_BYTES_MIN`], for
    /// times of less than 2.5 µs, and no longer than [`TURN_BYTES_MAX`], from 40 µs on.
    ///
    /// They are `weighed` by shares for a scheduler that gives all connections their turns in order, as Tokio's do. The
    /// listener with the most shares has turns of [`TURN_BYTES_MAX`]; the others have so much less, down to
    /// [`TURN_BYTES_MIN`]. It says nothing of how many connections a listener has, and nothing of who sends little: a turn
    /// that ends by itself is as long as it is.
    pub fn set_turns<'a>(
        all: impl Iterator<Item = &'a Self> + Clone,
        latency: Option<Duration>,
        weighed: bool,
    ) {
        let limit = latency.map_or(TURN_BYTES_MAX, turn_limit);
        let most = all.clone().map(Self::shares).max().unwrap_or(SHARES_MAX);
        for share in all {
            let part = if weighed {
                TURN_BYTES_MAX * usize::from(share.shares()) / usize::from(most.max(1))
            } else {
                TURN_BYTES_MAX
            };
            share
                .turn_bytes
                .store(part.clamp(TURN_BYTES_MIN, limit), Relaxed);
        }
    }
}

/// Bytes that a turn forwards in about this time.
fn turn_limit(time: Duration) -> usize {
    let part = time.min(LONGEST_TURN).div_duration_f64(LONGEST_TURN);
    ((TURN_BYTES_MAX as f64 * part) as usize).max(TURN_BYTES_MIN)
}

impl Default for Share {
    fn default() -> Self {
        Self {
            shares: AtomicU16::new(SHARES_MAX),
            turn_bytes: AtomicUsize::new(TURN_BYTES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_as_short_as_the_latency_that_is_wanted() {
        let share = Share::default();
        let limited = |time| {
            Share::set_turns([&share].into_iter(), Some(time), false);
            share.turn_bytes()
        };
        assert_eq!(limited(Duration::ZERO), TURN_BYTES_MIN);
        assert_eq!(limited(Duration::from_micros(10)), 64 * 1024);
        assert_eq!(limited(Duration::from_micros(40)), TURN_BYTES_MAX);
        assert_eq!(limited(Duration::MAX), TURN_BYTES_MAX);
        limited(Duration::ZERO);
        Share::set_turns([&share].into_iter(), None, false);
        assert_eq!(
            share.turn_bytes(),
            TURN_BYTES_MAX,
            "nobody wants it any more"
        );
    }

    #[test]
    fn turns_are_weighed_against_the_most() {
        let shares = [10, 100, 1].map(|shares| {
            let share = Share::default();
            share.set_shares(shares);
            share
        });
        assert_eq!(shares[0].turn_bytes(), TURN_BYTES_MAX);
        let turns = |latency, weighed| {
            Share::set_turns(shares.iter(), latency, weighed);
            shares.each_ref().map(Share::turn_bytes)
        };
        let weighed = [TURN_BYTES_MAX / 10, TURN_BYTES_MAX, TURN_BYTES_MIN];
        assert_eq!(turns(None, true), weighed);
        let limited = [TURN_BYTES_MAX / 10, TURN_BYTES_MAX / 4, TURN_BYTES_MIN];
        assert_eq!(turns(Some(Duration::from_micros(10)), true), limited);
        assert_eq!(turns(None, false), [TURN_BYTES_MAX; 3]);
        // Whoever is alone has all.
        Share::set_turns(shares[2..].iter(), None, true);
        assert_eq!(shares[2].turn_bytes(), TURN_BYTES_MAX);
    }
}
