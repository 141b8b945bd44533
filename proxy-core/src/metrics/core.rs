//! What one worker counts of itself.

use super::Counter;

/// Counters of one worker, whatever it works for.
#[derive(Debug)]
pub struct CoreCells {
    /// Times that a connection was run.
    pub polls: Counter,
    /// Connections that began here.
    pub started: Counter,
    /// Connections that ended here, wherever they began.
    pub ended: Counter,
    /// Connections that this worker took over, by the worker that ran them last.
    pub taken_from: Box<[Counter]>,
    /// Connections that panicked here.
    pub panics: Counter,
    /// Nanoseconds in which the scheduler ran tasks or looked for them, as it says itself.
    pub busy_nanoseconds: Counter,
}

impl CoreCells {
    /// Zeros, for one of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            polls: Counter::default(),
            started: Counter::default(),
            ended: Counter::default(),
            taken_from: (0..workers).map(|_| Counter::default()).collect(),
            panics: Counter::default(),
            busy_nanoseconds: Counter::default(),
        }
    }
}
