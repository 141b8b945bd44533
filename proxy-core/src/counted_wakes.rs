//! A waker that counts: for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Wake, Waker};

/// How often its wakers were woken.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountedWakes(Arc<Count>);

#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl CountedWakes {
    pub(crate) fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    pub(crate) fn get(&self) -> usize {
        self.0.0.load(SeqCst)
    }
}
