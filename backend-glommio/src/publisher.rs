//! Passing Glommio's own counts on, rarely enough to cost nothing.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::TaskQueueHandle;
use proxy_core::metrics::ByIndex;

use crate::metrics::QueueCells;

/// Least time between two publications.
const INTERVAL: Duration = Duration::from_millis(100);

/// Publishes the task queues' counts of one core. Glommio gives them to its own thread only, and forgets them.
pub(crate) struct Publisher {
    worker: usize,
    queues: Arc<ByIndex<Box<[QueueCells]>>>,
    handles: Vec<TaskQueueHandle>,
    next: Cell<Option<Instant>>,
}

impl Publisher {
    pub(crate) fn new(
        worker: usize,
        queues: Arc<ByIndex<Box<[QueueCells]>>>,
        handles: Vec<TaskQueueHandle>,
    ) -> Self {
        Self {
            worker,
            queues,
            handles,
            next: Cell::new(None),
        }
    }

    /// Publishes, if it is time.
    pub(crate) fn publish(&self, now: Instant) {
        if self.next.get().is_some_and(|next| now < next) {
            return;
        }
        self.next.set(Some(now + INTERVAL));
        for (handle, cells) in self.handles.iter().zip(self.queues.of(self.worker)) {
            // It fails for a queue that was removed, and none is.
            if let Ok(stats) = glommio::executor().task_queue_stats(*handle) {
                cells
                    .runtime_nanoseconds
                    .add(stats.runtime().as_nanos() as u64);
                cells.selected.add(stats.queue_selected());
            }
        }
    }
}
