//! What time it is.

use std::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where this backend asks the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
