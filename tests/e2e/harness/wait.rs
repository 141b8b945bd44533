//! Waiting for a condition. Deadlines are for what hangs; no test asserts a speed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything that works takes, also in a debug build on a machine that has twenty others to run: a benchmark of a real
/// service's takes a minute there.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// Between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Returns as soon as `condition` holds; panics, naming `what`, when it doesn't within [`DEADLINE`].
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(DEADLINE, condition),
        "still waiting after {DEADLINE:?}: {what}"
    );
}

/// True as soon as `condition` holds, false when it doesn't within `limit`.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Says to whoever looks that it is over, when this is dropped, be it by a panic.
pub(crate) struct End<'a>(pub(crate) &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
