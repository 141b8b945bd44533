//! What is configured of those who wait.

use std::time::Duration;

/// Connections that can be allowed to wait for an upstream. Each is a descriptor, and about a KiB.
pub const QUEUE_MAX: u64 = 1_000_000;

/// How many connections wait for places, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Connections that wait at a time, over all workers: those beyond are refused at once. No more than [`QUEUE_MAX`].
    pub max: u64,
    /// How long one waits before it is refused.
    pub timeout: Duration,
}
