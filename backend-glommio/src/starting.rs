//! Glommio's executor starts a thread of its own, and panics where the system refuses it. Here that is an error.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use proxy_core::lifeline::panic_message;
use rustix::io::Errno;

/// How the panic of a thread that can't be started begins (`std::thread::spawn`).
const NO_THREAD: &str = "failed to spawn thread";

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// For the process's panic hook, with what the panic says: whether it becomes the error of a start, so that the hook
/// doesn't report it.
pub fn becomes_error(message: &str) -> bool {
    IS_CATCHING.get() && message.starts_with(NO_THREAD)
}

/// Runs `make`.
///
/// # Errors
/// When a thread that it starts can't be started.
pub(crate) fn catch<T>(make: impl FnOnce() -> T) -> io::Result<T> {
    IS_CATCHING.set(true);
    // What it leaves half made is dropped with it.
    let made = catch_unwind(AssertUnwindSafe(make));
    IS_CATCHING.set(false);
    made.or_else(|panic| {
        if panic_message(&*panic).starts_with(NO_THREAD) {
            // The panic has the error as text only, and the kernel knows no other reason (clone(2)).
            Err(Errno::AGAIN.into())
        } else {
            resume_unwind(panic)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_can_t_be_started_is_an_error_and_another_panic_goes_on() {
        let refused = catch(|| panic!("{NO_THREAD}: Os {{ code: 11 }}"));
        let refused = refused.expect_err("no thread");
        assert_eq!(refused.raw_os_error(), Some(Errno::AGAIN.raw_os_error()));
        assert!(!becomes_error(NO_THREAD), "it is over");
        let becomes = catch(|| (becomes_error(NO_THREAD), becomes_error("a bug")));
        assert_eq!(becomes.expect("it ran"), (true, false));
        assert!(catch_unwind(|| catch(|| panic!("a bug"))).is_err());
    }
}
