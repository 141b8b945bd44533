//! Signals that end the process, or have it read its configuration again.

use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, which mean the same.
pub(crate) struct Ending {
    term: Signal,
    int: Signal,
}

impl Ending {
    /// Catches them from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        std::future::poll_fn(|cx| {
            if self.term.poll_recv(cx).is_ready() || self.int.poll_recv(cx).is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// SIGHUP.
pub(crate) struct Hangup(Signal);

impl Hangup {
    /// Catches it from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one. Several at once may be one.
    pub(crate) async fn next(&mut self) {
        // None would mean that no more can come, and the runtime is still there.
        let _ = self.0.recv().await;
    }
}
