//! Connections that somebody wants to end, one by one.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::closing::{Closing, Ending};

/// Connections of a listener that are to end and have not yet; one more is refused.
pub const ORDERED_ENDS_MAX: usize = 1024;

/// Those of one listener, by their ids. Nothing looks at them while there are none.
#[derive(Debug, Default)]
pub struct OrderedEnds {
    is_set: AtomicBool,
    ends: Mutex<BTreeMap<u64, Closing>>,
}

impl OrderedEnds {
    /// The connection with this id is to end. False if there are too many already. Connections are to see it:
    /// [`Backend::run_all`](crate::backend::Backend::run_all).
    pub fn add(&self, id: u64, closing: Closing) -> bool {
        let mut ends = self.lock();
        if ends.len() >= ORDERED_ENDS_MAX && !ends.contains_key(&id) {
            return false;
        }
        ends.insert(id, closing);
        self.is_set.store(true, Release);
        true
    }

    /// Forgets those whose connections are over.
    pub fn retain(&self, is_open: impl Fn(u64) -> bool) {
        let mut ends = self.lock();
        ends.retain(|id, _| is_open(*id));
        self.is_set.store(!ends.is_empty(), Release);
    }

    /// Whether there are any.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Acquire)
    }

    /// That of the connection with this id.
    pub(crate) fn of(&self, id: u64) -> Option<Ending> {
        let closing = *self.lock().get(&id)?;
        Some(Ending {
            at: closing.begins_at,
            manner: closing.manner,
            cause: closing.cause,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Closing>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::origin;
    use crate::metrics::Cause;

    #[test]
    fn only_the_one_that_is_meant_ends_and_those_that_are_over_make_room() {
        let (ends, now) = (OrderedEnds::default(), origin());
        let cut = Closing::cut(Cause::ByHand, now);
        assert!(!ends.is_set());
        for id in 0..ORDERED_ENDS_MAX as u64 {
            assert!(ends.add(id, cut));
        }
        assert!(!ends.add(5000, cut) && ends.add(7, cut));
        assert!(ends.of(7).is_some() && ends.of(5000).is_none());
        ends.retain(|id| id == 7);
        assert!(ends.add(5000, cut) && ends.of(8).is_none());
        ends.retain(|_| false);
        assert!(!ends.is_set() && ends.of(7).is_none());
    }
}
