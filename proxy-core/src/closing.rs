//! How connections end that may not stay: those of a server that is down or was removed, of a listener that was removed, of a
//! scheduler or a process that stops.
//!
//! A thread beside the workers sets what is to become of them, and has each connection see it once
//! ([`Backend::run_all`](crate::backend::Backend::run_all)). A connection notes its own moment then and waits for it by its own
//! timer, so nobody looks for it when bytes come.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Cause;

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Both sides are reset.
    Reset,
    /// Both sides get the end of the stream as soon as the connection is quiet; they are reset if it doesn't become so for a
    /// while.
    Close,
}

/// What is to become of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// How they are ended.
    pub manner: Manner,
    /// What their ends are counted as.
    pub cause: Cause,
    /// When the first one is ended.
    pub begins_at: Instant,
    /// Over which time their ends are spread, in equal parts.
    pub over: Duration,
    /// Connections that began to look for a server at this moment or later stay; none: all are meant.
    pub spares_from: Option<Instant>,
}

/// Where it stands what is to become of the connections of a listener, of a server or of a generation. Nothing does, as long as
/// they may stay.
#[derive(Debug, Default)]
pub struct ClosingCell {
    is_set: AtomicBool,
    closing: Mutex<Option<Closing>>,
}

/// The end of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) at: Instant,
    pub(crate) manner: Manner,
    pub(crate) cause: Cause,
}

impl Closing {
    /// They are reset at once.
    pub fn cut(cause: Cause, now: Instant) -> Self {
        Self {
            manner: Manner::Reset,
            cause,
            begins_at: now,
            over: Duration::ZERO,
            spares_from: None,
        }
    }

    /// When the last one is due.
    pub fn ends_at(&self) -> Instant {
        self.begins_at + self.over
    }

    /// What it means for the connection with this id, which began to look for a server at a moment; none: it stays.
    pub(crate) fn of(&self, id: u64, begun_at: Instant) -> Option<Ending> {
        if self.spares_from.is_some_and(|from| from <= begun_at) {
            return None;
        }
        Some(Ending {
            at: self.begins_at + part(id, self.over),
            manner: self.manner,
            cause: self.cause,
        })
    }
}

impl ClosingCell {
    /// Sets it, or lifts it. Returns whether that is a change, which connections are to see.
    pub fn set(&self, closing: Option<Closing>) -> bool {
        let mut set = self.lock();
        let is_change = *set != closing;
        *set = closing;
        self.is_set.store(closing.is_some(), Release);
        is_change
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Acquire)
    }

    /// What is set; none: they may stay. It locks nothing then.
    pub fn get(&self) -> Option<Closing> {
        if self.is_set() { *self.lock() } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Closing>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of `whole` for this id: ids that follow one another are spread as evenly as can be, whichever stretch of them is looked
/// at (multiples of the golden ratio).
fn part(id: u64, whole: Duration) -> Duration {
    let fraction = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let whole = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(fraction) * u128::from(whole)) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::epoch::origin;

    const SECOND: Duration = Duration::from_secs(1);

    fn closing(begins_at: Instant, over: Duration) -> Closing {
        Closing {
            manner: Manner::Close,
            begins_at,
            over,
            ..Closing::cut(Cause::ServerDown, begins_at)
        }
    }

    #[test]
    fn a_cell_has_what_was_set_last() {
        let (cell, now) = (ClosingCell::default(), origin());
        assert!(!cell.is_set() && cell.get().is_none());
        for one in [
            closing(now, SECOND),
            Closing::cut(Cause::Drain, now + SECOND),
        ] {
            assert!(cell.set(Some(one)));
            assert!(!cell.set(Some(one)));
            assert!(cell.is_set());
            assert_eq!(cell.get(), Some(one));
        }
        assert!(cell.set(None));
        assert!(!cell.set(None));
        assert!(!cell.is_set() && cell.get().is_none());
    }

    #[test]
    fn those_that_come_later_stay() {
        let now = origin();
        let mut closing = closing(now, SECOND);
        assert!(closing.of(1, now + SECOND).is_some());
        closing.spares_from = Some(now);
        assert!(closing.of(1, now).is_none());
        assert!(closing.of(1, now + SECOND).is_none());
        let ending = closing.of(0, now - SECOND).expect("it is meant");
        let (manner, cause) = (Manner::Close, Cause::ServerDown);
        let at = now;
        assert_eq!(ending, Ending { at, manner, cause });
    }

    proptest! {
        /// Of any stretch of ids, or of every so manieth, each tenth of the time has its tenth, give or take a few.
        #[test]
        fn ends_are_spread_evenly(from: u64, step in 1_u64..4, count in 200_u64..5000) {
            let now = origin();
            let closing = closing(now, 10 * SECOND);
            let mut tenths = [0_u64; 10];
            for place in 0..count {
                let id = from.wrapping_add(place * step);
                let ending = closing.of(id, now).expect("all are meant");
                let after = ending.at - now;
                prop_assert!(after < 10 * SECOND);
                tenths[after.as_secs() as usize] += 1;
            }
            for tenth in tenths {
                prop_assert!(tenth.abs_diff(count / 10) <= 10, "{tenths:?} of {count}");
            }
        }
    }
}
