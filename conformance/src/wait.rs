//! Waiting for the proxy.

use std::time::Duration;

use crate::stage::Stage;

/// Waits until `look` finds something that the proxy brings about by itself.
///
/// # Panics
/// When it has not come after [`Stage::PATIENCE`].
pub fn wait<S: Stage, T>(stage: &S, what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(stage, S::PATIENCE, what, look)
}

/// Waits until `look` finds something that comes with time.
///
/// # Panics
/// When it has not come after `limit`.
pub fn wait_within<S: Stage, T>(
    stage: &S,
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let until = stage.now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if !stage.pass(until) {
            // The last moment may have brought it.
            return look().unwrap_or_else(|| panic!("it did not come within {limit:?}: {what}"));
        }
    }
}

/// Lets time pass.
pub fn elapse<S: Stage>(stage: &S, duration: Duration) {
    let until = stage.now() + duration;
    while stage.pass(until) {}
}

/// Waits until the proxy has no connection, and checks that its accounts agree with that.
///
/// # Panics
/// When a connection is left, or counted twice.
pub fn settle<S: Stage>(stage: &S) {
    wait(stage, "the listener counts no connection", || {
        (stage.listener().connections() == 0).then_some(())
    });
    wait(stage, "the listener lists no connection", || {
        let mut listed = 0;
        stage.listener().live.each(|_| listed += 1);
        (listed == 0).then_some(())
    });
    wait(stage, "the upstream counts nobody that waits", || {
        (stage.pool().upstream().queue() == 0).then_some(())
    });
    for server in stage.pool().servers() {
        wait(stage, "the upstream counts no connection", || {
            (server.connections() == 0).then_some(())
        });
    }
    let generation = stage.generation();
    wait(stage, "every connection ended where it was last", || {
        let has_none = |index| {
            let cores = &generation.cores;
            let cells = generation.cells(index);
            let left = cells.ended.get() + cells.left() + cores.given(generation.slot(index));
            let come = cells.started.get() + cells.adopted.get() + cells.taken();
            come == left
        };
        (0..generation.workers()).all(has_none).then_some(())
    });
}
