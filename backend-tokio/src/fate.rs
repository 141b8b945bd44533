//! How the current thread's worker reports that it can't go on.

use std::cell::OnceCell;

use proxy_core::lifeline::Deaths;

thread_local! {
    /// The worker's index, and where its death is reported.
    static FATE: OnceCell<(usize, Deaths)> = const { OnceCell::new() };
}

/// Makes the current thread the one that reports the death of a worker.
pub(crate) fn enlist(index: usize, deaths: Deaths) {
    // A thread is enlisted once.
    let _ = FATE.with(|fate| fate.set((index, deaths)));
}

/// Reports that the current thread's worker can't go on. False on a thread that is no worker.
pub(crate) fn die(reason: impl Into<String>) -> bool {
    let died = FATE.try_with(|fate| {
        fate.get()
            .map(|(index, deaths)| deaths.report(*index, reason))
    });
    died.is_ok_and(|died| died.is_some())
}
