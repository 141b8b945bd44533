//! Those who wait elsewhere, and could be served here: in the lines of upstreams that this one stands in for.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::upstream::queue::Queue;

/// What has a line of its own.
pub(crate) trait HasQueue: Debug + Send + Sync {
    /// The line.
    fn queue(&self) -> &Queue;
}

/// The upstreams that this one stands in for, of which clients wait. While there are none it costs one load of a word for each
/// connection that ends.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    count: AtomicUsize,
    /// Those of which nobody waits any more are left out at the next look.
    all: Mutex<Vec<Weak<dyn HasQueue>>>,
}

impl Followers {
    /// Has those who wait there hear of what becomes free here. They must be waiting already: who gives a place back from here on
    /// finds them, and what was given back before is theirs to find.
    pub(crate) fn add(&self, other: Weak<dyn HasQueue>) {
        let mut all = self.lock();
        if !all.iter().any(|known| known.ptr_eq(&other)) {
            all.push(other);
        }
        self.count.store(all.len(), SeqCst);
    }

    /// Whether there were some at the last look.
    pub(crate) fn has_any(&self) -> bool {
        self.count.load(SeqCst) > 0
    }

    /// A place was given back. Not with a lock of an upstream held.
    pub(crate) fn on_free(&self) {
        for other in self.waiting() {
            other.queue().on_free();
        }
    }

    /// Something else has changed that says who can serve. Any lock may be held but this one's.
    pub(crate) fn on_change(&self) {
        for other in self.waiting() {
            other.queue().on_change();
        }
    }

    fn waiting(&self) -> Vec<Arc<dyn HasQueue>> {
        if self.count.load(SeqCst) == 0 {
            return Vec::new();
        }
        let mut all = self.lock();
        let mut waiting = Vec::new();
        all.retain(|other| {
            let other = other.upgrade().filter(|other| other.queue().has_any());
            let is_left = other.is_some();
            waiting.extend(other);
            is_left
        });
        self.count.store(all.len(), SeqCst);
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn HasQueue>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
