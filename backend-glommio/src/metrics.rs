//! What only this scheduler has to tell.

use proxy_core::metrics::Counter;

/// Glommio's account of one listener's task queue on one core. Published at most ten times a second.
#[derive(Debug, Default)]
pub struct QueueCells {
    /// Nanoseconds that the queue's tasks ran.
    pub runtime_nanoseconds: Counter,
    /// Times that the scheduler chose the queue.
    pub selected: Counter,
}
