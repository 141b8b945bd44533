//! The unsafe calls of this backend.

use io_uring::{IoUring, squeue};

/// Puts a request into the submission queue.
///
/// Fails when the queue is full; it is empty after a submit.
pub(crate) fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<(), squeue::PushError> {
    // SAFETY: the only requests made here are POLL_ADD and ASYNC_CANCEL, which refer to no memory of ours. A
    // descriptor that is closed before the kernel takes the request makes the request fail, or watch another
    // socket for an instant until the removal that stands right behind it in the queue.
    unsafe { ring.submission().push(entry) }
}
