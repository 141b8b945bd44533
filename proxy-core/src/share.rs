//! A listener's part of the CPU against the other listeners.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed};

use crate::flow::{TURN_BYTES_MAX, TURN_BYTES_MIN};

/// The most shares that a listener can have, and what it has by default.
pub const SHARES_MAX: u16 = 1000;

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

    /// Weighs turns by shares: for a scheduler that gives all connections their turns in order, as Tokio's do. The
    /// listener with the most shares has turns of [`TURN_BYTES_MAX`]; the others have so much less, down to
    /// [`TURN_BYTES_MIN`].
    ///
    /// It says nothing of how many connections a listener has, and nothing of who sends little: a turn that ends by itself
    /// is as long as it is.
    pub fn weigh<'a>(all: impl Iterator<Item = &'a Self> + Clone) {
        let most = all.clone().map(Self::shares).max().unwrap_or(SHARES_MAX);
        for share in all {
            let part = TURN_BYTES_MAX * usize::from(share.shares()) / usize::from(most.max(1));
            share.turn_bytes.store(part.max(TURN_BYTES_MIN), Relaxed);
        }
    }
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
        // Whoever is alone has all.
        Share::weigh(shares[2..].iter());
        assert_eq!(shares[2].turn_bytes(), TURN_BYTES_MAX);
    }
}
