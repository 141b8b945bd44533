//! The other cores, as one of them reaches them: by message, and in no other way.

use std::sync::Arc;
use std::task::Waker;

use crate::mailbox::{Mailbox, Message, TaskWaker};
use crate::ready::TaskKey;

/// One core's way to all cores.
pub(crate) struct Neighbours {
    own: usize,
    mailboxes: Arc<[Mailbox]>,
    /// Messages that go out together, by core.
    outbox: Vec<Vec<Message>>,
}

impl Neighbours {
    pub(crate) fn new(own: usize, mailboxes: Arc<[Mailbox]>) -> Self {
        Self {
            own,
            outbox: mailboxes.iter().map(|_| Vec::new()).collect(),
            mailboxes,
        }
    }

    /// Has a task of this core run, from any thread.
    pub(crate) fn waker(&self, task: TaskKey) -> Waker {
        Arc::new(TaskWaker::new(self.mailboxes.clone(), self.own, task)).into()
    }

    /// This core's index.
    pub(crate) fn index(&self) -> usize {
        self.own
    }

    /// This core's mailbox.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailboxes[self.own]
    }

    /// Whether there is another core of this index.
    pub(crate) fn is_other(&self, core: usize) -> bool {
        core != self.own && core < self.mailboxes.len()
    }

    /// Puts a message aside, to go out with the next [`Neighbours::flush`].
    pub(crate) fn queue(&mut self, to: usize, message: Message) {
        self.outbox[to].push(message);
    }

    /// Sends what was put aside, with one wake a core, and returns what a core had no room for.
    pub(crate) fn flush(&mut self) -> Vec<(usize, Message)> {
        let mut returned = Vec::new();
        for (core, messages) in self.outbox.iter_mut().enumerate() {
            if !messages.is_empty() {
                self.mailboxes[core].post(messages);
                returned.extend(messages.drain(..).map(|message| (core, message)));
            }
        }
        returned
    }
}
