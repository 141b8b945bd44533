//! One end of a connection, as the kernel keeps it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use proxy_core::runtime::Interest;
use rustix::io::Errno;

use super::tasks::TaskId;

/// An end's number.
pub(super) type EndId = usize;

/// One end of a connection. Bytes that are sent lie in the other end's inbox at once.
#[derive(Debug)]
pub(super) struct End {
    pub(super) other: EndId,
    /// The address of the proxy's end, where it matters.
    pub(super) local: Option<SocketAddr>,
    /// Bytes that arrived and were not received.
    pub(super) inbox: VecDeque<u8>,
    /// How many bytes of the inbox are before the latest urgent mark.
    pub(super) mark: Option<usize>,
    /// Bytes that the inbox has room for.
    pub(super) room: usize,
    /// The other side has ended its stream.
    pub(super) ended: bool,
    /// This side has.
    pub(super) shut: bool,
    /// The connection was reset.
    pub(super) cut: bool,
    /// What `SO_ERROR` has.
    pub(super) error: Option<Errno>,
    pub(super) closed: bool,
    pub(super) resets_on_close: bool,
    /// All that it sent has arrived, as it was told.
    pub(super) acknowledged: bool,
    /// What it had sent when the other side was gone: it is never acknowledged, and the kernel counts it for ever.
    pub(super) lost: usize,
    /// A send was refused or cut short: room is an event.
    pub(super) wants_room: bool,
    /// There are always so many bytes to receive.
    pub(super) fountain: Option<usize>,
    /// There is always room to send.
    pub(super) is_drain: bool,
    /// The proxy's connect has worked.
    pub(super) connected: bool,
    /// Its end arrives just before the next receive, behind all looks at it.
    pub(super) ends_at_receive: bool,
    /// It is reset just before the next send, behind all looks at it.
    pub(super) cut_at_send: bool,
    /// For the proxy's ends.
    pub(super) watch: Option<Watch>,
}

impl End {
    pub(super) fn new(other: EndId, room: usize, watch: Option<Watch>) -> Self {
        Self {
            other,
            local: None,
            inbox: VecDeque::new(),
            mark: None,
            room,
            ended: false,
            shut: false,
            cut: false,
            error: None,
            closed: false,
            resets_on_close: false,
            acknowledged: false,
            lost: 0,
            wants_room: false,
            fountain: None,
            is_drain: false,
            connected: false,
            ends_at_receive: false,
            cut_at_send: false,
            watch,
        }
    }

    /// Whether nothing can happen any more.
    pub(super) fn is_over(&self) -> bool {
        self.cut || self.ended && self.shut
    }
}

/// A change of readiness that the scheduler has not heard of yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Event {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The stream's end or a reset: the only thing that stays true.
    pub(super) ended: bool,
    /// An urgent mark is in the inbox.
    pub(super) marked: bool,
}

impl Event {
    pub(super) const READABLE: Self = Self {
        readable: true,
        writable: false,
        ended: false,
        marked: false,
    };
    pub(super) const WRITABLE: Self = Self {
        readable: false,
        writable: true,
        ended: false,
        marked: false,
    };
    pub(super) const END: Self = Self {
        readable: true,
        writable: false,
        ended: true,
        marked: false,
    };
    pub(super) const RESET: Self = Self {
        readable: true,
        writable: true,
        ended: true,
        marked: false,
    };
}

/// What the scheduler knows of an end's readiness. It is told of changes only.
#[derive(Debug, Default)]
pub(super) struct Watch {
    read: Readiness,
    write: Readiness,
    ended: bool,
    marked: bool,
    task: TaskId,
    /// What it has not heard of yet. Changes that come before it listens are one event, as they are in epoll.
    pending: Option<Event>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Readiness {
    #[default]
    No,
    Awaited,
    Yes,
}

impl Watch {
    /// Notes a change. True when nothing was pending before.
    pub(super) fn note(&mut self, event: Event) -> bool {
        let first = self.pending.is_none();
        let pending = self.pending.get_or_insert_default();
        pending.readable |= event.readable;
        pending.writable |= event.writable;
        pending.ended |= event.ended;
        pending.marked |= event.marked;
        first
    }

    /// Tells the scheduler what is pending, and returns the task that waits for it.
    pub(super) fn harvest(&mut self) -> Option<TaskId> {
        let event = self.pending.take()?;
        self.ended |= event.ended;
        self.marked |= event.marked;
        let mut awaited = false;
        for (ready, readiness) in [
            (event.readable, &mut self.read),
            (event.writable, &mut self.write),
        ] {
            if ready {
                awaited |= *readiness == Readiness::Awaited;
                *readiness = Readiness::Yes;
            }
        }
        awaited.then_some(self.task)
    }

    /// Whether a system call is worth trying; if not, `task` waits for it.
    pub(super) fn check(&mut self, interest: Interest, task: TaskId) -> bool {
        let readiness = self.readiness(interest);
        if *readiness == Readiness::Yes {
            return true;
        }
        *readiness = Readiness::Awaited;
        self.task = task;
        false
    }

    /// The next system call is tried.
    pub(super) fn assume_ready(&mut self, interest: Interest) {
        *self.readiness(interest) = Readiness::Yes;
    }

    pub(super) fn has_mark(&self) -> bool {
        self.marked
    }

    /// An attempt left nothing to do. An end is never forgotten, as there is no event after it, and nothing is while
    /// bytes may be behind an urgent mark.
    pub(super) fn on_drained(&mut self, interest: Interest) {
        if !((self.ended || self.marked) && interest == Interest::Read) {
            *self.readiness(interest) = Readiness::No;
        }
    }

    /// An attempt found nothing to do.
    pub(super) fn on_blocked(&mut self, interest: Interest) {
        if interest == Interest::Read {
            self.marked = false;
        }
        self.on_drained(interest);
    }

    fn readiness(&mut self, interest: Interest) -> &mut Readiness {
        match interest {
            Interest::Read => &mut self.read,
            Interest::Write => &mut self.write,
        }
    }
}
