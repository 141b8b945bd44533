//! The task queues of a core, one a listener.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use glommio::{Latency, Shares, SharesManager, TaskQueueHandle};
use proxy_core::Listener;

/// Glommio can't end a task queue while it runs, so that those that nobody uses wait for the next listener.
#[derive(Debug, Default)]
pub(crate) struct Queues(RefCell<Vec<Queue>>);

/// A task queue, and whose shares it has.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) handle: TaskQueueHandle,
    listener: Rc<RefCell<Arc<Listener>>>,
}

impl Queues {
    /// A task queue with the listener's shares, which may change. Its latency is not for Glommio, which would only shorten
    /// the preempt timer: lanes look at the time themselves.
    pub(crate) fn take(&self, listener: &Arc<Listener>) -> Queue {
        if let Some(queue) = self.0.borrow_mut().pop() {
            *queue.listener.borrow_mut() = listener.clone();
            return queue;
        }
        let owner = Rc::new(RefCell::new(listener.clone()));
        let shares = Shares::Dynamic(Rc::new(SharesOf(owner.clone())));
        let executor = glommio::executor();
        Queue {
            handle: executor.create_task_queue(shares, Latency::NotImportant, &listener.name),
            listener: owner,
        }
    }

    /// No task is in it any more.
    pub(crate) fn give_back(&self, queue: Queue) {
        self.0.borrow_mut().push(queue);
    }
}

/// A listener's shares, which Glommio asks for now and then while the queue is active.
struct SharesOf(Rc<RefCell<Arc<Listener>>>);

impl SharesManager for SharesOf {
    fn shares(&self) -> usize {
        self.0.borrow().share.shares().into()
    }
}
