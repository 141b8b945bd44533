//! How many connections there are at a time, over all workers.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A count that all workers share: one addition and one subtraction a connection, and nothing a message.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicU64);

impl Load {
    /// Counts one more, unless there are `max` already.
    pub(crate) fn take(&self, max: Option<u64>) -> bool {
        let Some(max) = max else {
            // Without a limit they are counted, too, as there may be one before they end.
            self.0.fetch_add(1, SeqCst);
            return true;
        };
        let more = |taken| (taken < max).then_some(taken + 1);
        self.0.try_update(SeqCst, SeqCst, more).is_ok()
    }

    /// One that was taken is over.
    pub(crate) fn release(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }

    /// Whether there is no room for one more.
    pub(crate) fn is_full(&self, max: Option<u64>) -> bool {
        max.is_some_and(|max| self.get() >= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_exact_whoever_takes() {
        let load = Load::default();
        let taken: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| load.take(Some(500))).count()))
                .collect();
            let taken = workers.into_iter().map(|worker| worker.join());
            taken.map(|taken| taken.expect("it counts")).sum()
        });
        assert_eq!((taken, load.get()), (500, 500));
        assert!(load.is_full(Some(500)) && !load.is_full(Some(501)) && !load.is_full(None));
        load.release();
        assert!(load.take(Some(500)) && !load.take(Some(500)) && load.take(None));
    }
}
