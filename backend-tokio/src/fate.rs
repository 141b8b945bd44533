//! How the current thread's worker reports that it can't go on.

use std::cell::{Cell, OnceCell};

use proxy_core::lifeline::Deaths;

thread_local! {
    static FATE: OnceCell<Fate> = const { OnceCell::new() };
    /// Nothing can be watched here any more.
    static IS_LOST: Cell<bool> = const { Cell::new(false) };
}

/// What a worker reports by.
#[derive(Debug)]
pub(crate) struct Fate {
    /// The worker's index.
    pub(crate) index: usize,
    pub(crate) deaths: Deaths,
    /// Other workers have the same reactor and the same queues.
    pub(crate) is_shared: bool,
}

/// What is lost with something that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The worker; and where others have the same reactor and queues, those, too.
    All,
    /// One task: the workers go on, as far as they can without it.
    Task,
}

/// Makes the current thread the one that reports the death of a worker.
pub(crate) fn enlist(fate: Fate) {
    // A thread is enlisted once.
    let _ = FATE.with(|own| own.set(fate));
}

/// Reports that the current thread's worker can't go on. False on a thread that is no worker.
pub(crate) fn die(reason: impl Into<String>, extent: Extent) -> bool {
    if extent == Extent::All {
        let _ = IS_LOST.try_with(|is_lost| is_lost.set(true));
    }
    let died = FATE.try_with(|fate| fate.get().map(|fate| fate.report(reason, extent)));
    died.is_ok_and(|died| died.is_some())
}

/// Whether the current thread's worker has died: who waits to be accepted is left to others.
pub(crate) fn is_lost() -> bool {
    IS_LOST.get()
}

/// Whether other workers have the reactor and the queues of the current thread's.
pub(crate) fn is_shared() -> bool {
    let shared = FATE.try_with(|fate| fate.get().is_some_and(|fate| fate.is_shared));
    shared.unwrap_or(false)
}

impl Fate {
    fn report(&self, reason: impl Into<String>, extent: Extent) {
        if self.is_shared && extent == Extent::All {
            self.deaths.report_halt(self.index, reason);
        } else {
            self.deaths.report(self.index, reason);
        }
    }
}
