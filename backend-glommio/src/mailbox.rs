//! Messages to a core, from other threads and from other cores.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::Wake;
use std::time::Instant;

use proxy_core::backend::{Answers, Evacuation, Moving, OpenSocket, OpenSockets};
use proxy_core::metrics::{CoreCells, Slot};
use proxy_core::{Accepted, Descriptor, Detached, ListenerSettings, Transport};
use rustix::event::EventfdFlags;

use crate::lanes::{InUse, Shared};
use crate::ready::TaskKey;

/// Messages with connections that may wait for a core; beyond it they stay where they are.
pub(crate) const MAIL_MAX: usize = 4096;

/// A message to a core.
#[derive(Debug)]
pub(crate) enum Message {
    /// Make a lane of this number.
    AddLane {
        lane: u32,
        shared: Arc<Shared>,
        /// Held until the lane has ended.
        in_use: Arc<InUse>,
    },
    /// Run every connection once.
    RunAll,
    /// Answer: the core turns.
    Answer(Answers),
    /// Send all connections away.
    Evacuate(Arc<Evacuation>),
    /// End every connection and the worker.
    Stop,
    /// Migrate so many connections of each lane to this core, whatever they cost.
    Shed { to: usize, count: usize },
    /// This is for a lane.
    Lane { lane: u32, order: Order },
}

/// A message to a lane.
#[derive(Debug)]
pub(crate) enum Order {
    /// Accept from these sockets, too. The end of `watched` says that they are watched, and what it is sent, why they are not.
    Listen {
        settings: Arc<ListenerSettings>,
        sockets: Vec<Descriptor>,
        watched: mpsc::Sender<std::io::Error>,
        open: OpenSockets,
    },
    /// Take what waits in the backlogs, then stop listening.
    Unlisten,
    /// The lane has no connection, and will have none: it is to end.
    End,
    /// Go on with a connection of another scheduler's.
    Arrive(Moving),
    /// Begin a connection that another core accepted and admitted. Until then its socket counts as open, so that nobody takes
    /// this scheduler for one that has no connection left.
    Begin(Accepted, OpenSocket),
    /// Go on with a connection of another core's.
    Adopt(Detached<Descriptor>),
    /// Run every connection once.
    RunAll,
    /// Run what is in this place.
    Run { index: u32 },
    /// Migrate the connection in this place to this core.
    Migrate { index: u32, to: usize },
    /// Migrate the connection with this id to this core, if it is here.
    MigrateOne { id: u64, to: usize },
    /// Migrate so many connections to this core.
    Shed { to: usize, count: usize },
}

impl Order {
    /// Cuts the connection in it, as no lane is left to take it, and counts it as the worker's that has
    /// the slot, whose cells are `cells`.
    pub(crate) fn abandon(self, slot: Slot, cells: &CoreCells, now: Instant) {
        match self {
            Self::Begin(accepted, _open) => {
                accepted.socket.reset_on_close();
                let settings = accepted.permit.settings();
                settings.abandon(slot, accepted.origin, now);
            }
            Self::Adopt(detached) => detached.abort(slot, cells, now),
            Self::Arrive(moving) => moving.arrive().abort(slot, cells, now),
            Self::RunAll
            | Self::Listen { .. }
            | Self::Unlisten
            | Self::End
            | Self::Run { .. }
            | Self::Migrate { .. }
            | Self::MigrateOne { .. }
            | Self::Shed { .. } => {}
        }
    }
}

/// A core's messages, and the descriptor that wakes it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    post: Mutex<Post>,
    wake: OwnedFd,
}

#[derive(Debug, Default)]
struct Post {
    messages: Vec<Message>,
    /// Nobody will read it any more.
    closed: bool,
}

impl Mailbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            post: Mutex::default(),
            wake: rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// Leaves a message, and wakes the core if it sleeps. One that has ended takes none: it is dropped.
    pub(crate) fn send(&self, message: Message) {
        let mut post = self.lock();
        if post.closed {
            return;
        }
        post.messages.push(message);
        drop(post);
        self.wake();
    }

    /// Leaves a message that has a connection, of which there are no more than descriptors.
    ///
    /// # Errors
    /// The message, where the core has ended.
    pub(crate) fn send_connection(&self, message: Message) -> Result<(), Box<Message>> {
        let mut post = self.lock();
        if post.closed {
            return Err(Box::new(message));
        }
        // One that has mail was woken for it, and will find this too.
        let wakes = post.messages.is_empty();
        post.messages.push(message);
        drop(post);
        if wakes {
            self.wake();
        }
        Ok(())
    }

    /// Moves `messages` in, as far as there is room for [`MAIL_MAX`], with one wake for all of them. What is left in
    /// it had no room: nothing has any once the core has ended.
    pub(crate) fn post(&self, messages: &mut Vec<Message>) {
        let mut post = self.lock();
        let room = if post.closed {
            0
        } else {
            MAIL_MAX.saturating_sub(post.messages.len())
        };
        // One that has mail was woken for it, and will find this too.
        let wakes = post.messages.is_empty() && room > 0;
        post.messages
            .extend(messages.drain(..room.min(messages.len())));
        drop(post);
        if wakes {
            self.wake();
        }
    }

    /// Takes the messages that came since the last time.
    pub(crate) fn take(&self) -> Vec<Message> {
        // The wake first: one that comes in between is then seen again, with nothing behind it.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        std::mem::take(&mut self.lock().messages)
    }

    /// The core has ended.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    fn wake(&self) {
        // It can only fail by being full, and then the core is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Has a task of a core run, from any thread.
#[derive(Debug)]
pub(crate) struct TaskWaker {
    mailboxes: Arc<[Mailbox]>,
    core: usize,
    task: TaskKey,
}

impl TaskWaker {
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, core: usize, task: TaskKey) -> Self {
        Self {
            mailboxes,
            core,
            task,
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let TaskKey { lane, index } = self.task;
        let order = Order::Run { index };
        self.mailboxes[self.core].send(Message::Lane { lane, order });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_comes_back() {
        let mailbox = Mailbox::new().unwrap();
        let shed = |_| Message::Shed { to: 0, count: 1 };
        let mut messages: Vec<_> = (0..MAIL_MAX + 3).map(shed).collect();
        mailbox.post(&mut messages);
        assert_eq!(messages.len(), 3);
        // What is not a connection always has room.
        mailbox.send(Message::Stop);
        assert_eq!(mailbox.take().len(), MAIL_MAX + 1);
        mailbox.post(&mut messages);
        assert!(messages.is_empty());
        mailbox.close();
        messages.push(shed(0));
        mailbox.post(&mut messages);
        assert_eq!(messages.len(), 1);
    }
}
