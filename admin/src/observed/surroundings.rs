//! What the binary counts around the workers.

/// Queues and logs, which are the binary's: it says what it counts. Without an answer, all of it is zero.
pub trait Surroundings: Send + Sync {
    /// Connections that wait to be accepted at the listener of this name.
    fn waiting(&self, listener: &str) -> u64 {
        let _ = listener;
        0
    }

    /// Listening sockets of the listener of this name.
    fn sockets(&self, listener: &str) -> u64 {
        let _ = listener;
        0
    }

    /// Connection attempts that the kernel dropped at the listener of this name. It never shrinks.
    fn drops(&self, listener: &str) -> u64 {
        let _ = listener;
        0
    }

    /// Lines of the access log; zeros where there is none.
    fn access_log(&self) -> Lines {
        Lines::default()
    }

    /// Lines of the log on stderr that were dropped.
    fn log_dropped(&self) -> u64 {
        0
    }
}

/// Lines of a log, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Written.
    pub written: u64,
    /// Dropped: too many waited, or they could not be written.
    pub dropped: u64,
}

/// There are none.
impl Surroundings for () {}
