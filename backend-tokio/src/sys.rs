//! The unsafe calls that Tokio asks for.

use std::io;
use std::os::fd::OwnedFd;

use proxy_core::Descriptor;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the current runtime's reactor watch a descriptor, or gives it back.
pub(crate) fn register(
    descriptor: Descriptor,
) -> Result<AsyncFd<Descriptor>, (Descriptor, io::Error)> {
    let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    // SAFETY: a `Descriptor` owns its socket, never changes it, and closes it only when it is dropped, which the
    // `AsyncFd` that owns it from here on does after it has ended the watch.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    registered.map_err(|error| error.into_parts())
}

/// Has the current runtime's reactor tell when a clock (`timerfd(2)`) rings, or that an event (`eventfd(2)`) has happened.
pub(crate) fn register_event(event: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as above, an `OwnedFd` owns its descriptor, and nothing of it can be changed through the `AsyncFd`.
    let registered = unsafe { AsyncFd::register_with_interest(event, Interest::READABLE) };
    Ok(registered?)
}
