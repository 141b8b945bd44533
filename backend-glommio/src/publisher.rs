//! Publishes Glommio's own counters, rarely enough to cost nothing.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::TaskQueueHandle;

use crate::lanes::Shared;

/// Least time between two publications.
const INTERVAL: Duration = Duration::from_millis(100);

/// Publishes the task queues' counts of one core. Glommio gives them to its own thread only, and forgets them.
pub(crate) struct Publisher {
    worker: usize,
    queues: RefCell<Vec<(TaskQueueHandle, Arc<Shared>)>>,
    next: Cell<Option<Instant>>,
}

impl Publisher {
    pub(crate) fn new(worker: usize) -> Self {
        Self {
            worker,
            queues: RefCell::default(),
            next: Cell::new(None),
        }
    }

    /// A task queue is a lane's from now on.
    pub(crate) fn add(&self, queue: TaskQueueHandle, lane: Arc<Shared>) {
        self.queues.borrow_mut().push((queue, lane));
    }

    /// The lane of this task queue has ended.
    pub(crate) fn remove(&self, queue: TaskQueueHandle) {
        self.publish_now();
        let mut queues = self.queues.borrow_mut();
        queues.retain(|(other, _)| *other != queue);
    }

    /// Publishes, if it is time.
    pub(crate) fn publish(&self, now: Instant) {
        if self.next.get().is_some_and(|next| now < next) {
            return;
        }
        self.next.set(Some(now + INTERVAL));
        self.publish_now();
    }

    fn publish_now(&self) {
        for (queue, lane) in self.queues.borrow().iter() {
            // It fails for a queue that was removed, and none is.
            if let Ok(stats) = glommio::executor().task_queue_stats(*queue) {
                let cells = lane.queues.of(self.worker);
                cells
                    .runtime_nanoseconds
                    .add(stats.runtime().as_nanos() as u64);
                cells.selected.add(stats.queue_selected());
            }
        }
    }
}
