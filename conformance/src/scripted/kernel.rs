//! The kernel: connections in memory, and events about them.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::time::Instant;

use proxy_core::runtime::Attempt;
use proxy_core::{BUFFER_BYTES, TURN_BYTES_MAX, TURN_STEPS_MAX};
use rustix::io::Errno;

use super::dice::Dice;
use super::end::{End, EndId, Event, Watch};
use super::tasks::Tasks;
use crate::stage::ServerKind;

/// Most bytes that one run of a connection may receive: the budget of both directions, and the receive that
/// went over it.
const TURN_RECEIVED_MAX: usize = 2 * (TURN_BYTES_MAX + BUFFER_BYTES);

/// Most times that one run of a connection may receive anything.
const TURN_RECEIVES_MAX: u32 = 2 * TURN_STEPS_MAX;

/// Where a server listens: its port is its index.
pub(super) fn address_of(server: usize) -> SocketAddr {
    ([192, 0, 2, 1], server as u16).into()
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) now: Instant,
    pub(super) dice: Dice,
    pub(super) tasks: Tasks,
    /// Nothing can be watched any more.
    pub(super) refuses_watches: bool,
    /// Room of the ends that are made.
    room: usize,
    ends: Vec<End>,
    /// Ends with an event that the scheduler has not heard of.
    events: VecDeque<EndId>,
    servers: Vec<(ServerKind, VecDeque<EndId>)>,
    /// Connects that nobody has answered yet, with their servers.
    unanswered: Vec<(usize, EndId)>,
    /// Connects that found a queue full.
    pub(super) full: u64,
    /// Receives of the proxy's that found nothing.
    pub(super) receives_in_vain: u64,
    /// Sends of the proxy's.
    pub(super) sends: u64,
    /// Bytes, and times, that the connection that runs has received.
    turn_received: (usize, u32),
}

impl Kernel {
    pub(super) fn new(now: Instant, seed: u64, room: usize, servers: &[ServerKind]) -> Self {
        Self {
            now,
            dice: Dice::new(seed),
            tasks: Tasks::default(),
            refuses_watches: false,
            room,
            ends: Vec::new(),
            events: VecDeque::new(),
            servers: servers
                .iter()
                .map(|&kind| (kind, VecDeque::new()))
                .collect(),
            unanswered: Vec::new(),
            full: 0,
            receives_in_vain: 0,
            sends: 0,
            turn_received: (0, 0),
        }
    }

    pub(super) fn end(&mut self, id: EndId) -> &mut End {
        &mut self.ends[id]
    }

    /// A connection. The first end is the proxy's.
    pub(super) fn connection(&mut self) -> (EndId, EndId) {
        let (near, far) = (self.ends.len(), self.ends.len() + 1);
        self.ends
            .push(End::new(far, self.room, Some(Watch::default())));
        self.ends.push(End::new(near, self.room, None));
        (near, far)
    }

    /// The proxy connects to a server.
    pub(super) fn connect(&mut self, server: usize) -> Result<EndId, Errno> {
        let kind = self.servers[server].0;
        assert_ne!(kind, ServerKind::Bug, "the test's panic");
        if kind == ServerKind::Refusing && self.dice.mischief(2) {
            return Err(Errno::CONNREFUSED);
        }
        if kind == ServerKind::Full {
            self.full += 1;
            return Err(Errno::AGAIN);
        }
        let (near, far) = self.connection();
        match kind {
            ServerKind::Listening | ServerKind::Itself => {
                if kind == ServerKind::Itself {
                    self.ends[near].local = Some(address_of(server));
                }
                self.servers[server].1.push_back(far);
                self.ends[near].connected = true;
                self.note(near, Event::WRITABLE);
            }
            ServerKind::Refusing => {
                self.ends[near].cut = true;
                self.ends[near].error = Some(Errno::CONNREFUSED);
                self.note(near, Event::RESET);
            }
            ServerKind::Silent => self.unanswered.push((server, near)),
            ServerKind::Unresolved | ServerKind::Full | ServerKind::Bug => {}
        }
        Ok(near)
    }

    /// A server that was silent answers those who wait for it.
    pub(super) fn answer(&mut self, server: usize) {
        for (of, near) in std::mem::take(&mut self.unanswered) {
            let other = self.ends[near].other;
            if of != server {
                self.unanswered.push((of, near));
            } else if !self.ends[near].closed {
                self.servers[server].1.push_back(other);
                self.ends[near].connected = true;
                self.note(near, Event::WRITABLE);
            }
        }
    }

    /// A server is another one from now on.
    pub(super) fn turn_into(&mut self, server: usize, kind: ServerKind) {
        self.servers[server].0 = kind;
    }

    /// The next connection to a server that it has not accepted.
    pub(super) fn accept(&mut self, server: usize) -> Option<EndId> {
        self.servers[server].1.pop_front()
    }

    pub(super) fn send(&mut self, id: EndId, bytes: &[u8]) -> Result<Attempt<usize>, Errno> {
        if std::mem::take(&mut self.ends[id].cut_at_send) {
            self.cut(id);
        }
        if let Some(errno) = self.ends[id].error.take() {
            return Err(errno);
        }
        if self.ends[id].cut || self.ends[id].shut {
            return Err(Errno::PIPE);
        }
        let other = self.ends[id].other;
        if self.ends[other].closed {
            // They are taken, and answered by a reset.
            self.ends[id].lost = bytes.len();
            self.cut(id);
            return Ok(Attempt::Done(bytes.len()));
        }
        if self.ends[other].is_drain {
            return Ok(Attempt::Done(bytes.len()));
        }
        let watched = self.ends[id].watch.is_some();
        let there = self.ends[other].room - self.ends[other].inbox.len();
        let mut room = there.min(bytes.len());
        if watched && room > 0 {
            room = if self.dice.mischief(10) {
                0
            } else {
                self.dice.up_to(room)
            };
        }
        self.ends[other].inbox.extend(&bytes[..room]);
        self.ends[id].acknowledged = false;
        if room > 0 {
            self.note(other, Event::READABLE);
        }
        if room == bytes.len() {
            return Ok(Attempt::Done(room));
        }
        self.ends[id].wants_room = true;
        if room < there {
            // It was mischief: the room that there is comes to light later.
            self.note_room(id);
        }
        Ok(if room == 0 {
            Attempt::Blocked
        } else {
            Attempt::Drained(room)
        })
    }

    pub(super) fn receive(
        &mut self,
        id: EndId,
        buffer: &mut [u8],
    ) -> Result<Attempt<usize>, Errno> {
        let watched = self.ends[id].watch.is_some();
        if let Some(bytes) = self.ends[id].fountain
            && !self.ends[self.ends[id].other].closed
        {
            let count = bytes.min(buffer.len());
            return Ok(Attempt::Done(self.count_received(count)));
        }
        let end = &mut self.ends[id];
        end.ended |= std::mem::take(&mut end.ends_at_receive);
        if end.inbox.is_empty() {
            // An end that has arrived comes before a reset that followed it.
            return if end.ended {
                Ok(Attempt::Drained(0))
            } else if let Some(errno) = end.error.take() {
                Err(errno)
            } else if end.cut {
                Ok(Attempt::Drained(0))
            } else {
                Ok(Attempt::Blocked)
            };
        }
        let mut count = end.inbox.len().min(buffer.len());
        if watched {
            // What an end that was cut has left is there at once, and no event tells of it.
            if !end.cut && self.dice.mischief(10) {
                self.note(id, Event::READABLE);
                return Ok(Attempt::Blocked);
            }
            count = self.dice.up_to(count);
        }
        let end = &mut self.ends[id];
        // A receive goes on behind a mark that it begins at, and stops short of one that it comes to.
        end.mark = end.mark.filter(|&mark| mark > 0);
        let stopped = end.mark.is_some_and(|mark| mark <= count);
        count = end.mark.map_or(count, |mark| mark.min(count));
        end.mark = end.mark.map(|mark| mark - count);
        let taken = end.inbox.read_exact(&mut buffer[..count]);
        taken.expect("the inbox has as many");
        let (emptied, free) = (end.inbox.is_empty(), end.room - end.inbox.len());
        let other = end.other;
        // As the kernel does: one byte of room is no news.
        if free >= self.ends[id].room / 3 {
            self.note_room(other);
        }
        if watched {
            self.count_received(count);
        }
        Ok(if (emptied || stopped) && count < buffer.len() {
            Attempt::Drained(count)
        } else {
            Attempt::Done(count)
        })
    }

    /// What a receive would find.
    pub(super) fn peek(&mut self, id: EndId) -> Result<Attempt<usize>, Errno> {
        if self.ends[id].inbox.is_empty() {
            let ends_later = std::mem::take(&mut self.ends[id].ends_at_receive);
            let found = self.receive(id, &mut [0; 1]);
            self.ends[id].ends_at_receive = ends_later;
            return found;
        }
        Ok(Attempt::Done(1))
    }

    /// Whether a connect has worked. It may be the scheduler's to tell.
    pub(super) fn is_connected(&mut self, id: EndId) -> bool {
        self.ends[id].connected && !self.ends[id].cut && !self.dice.mischief(2)
    }

    /// What splice(2) finds: it can't pass an urgent mark.
    pub(super) fn splice(&mut self, id: EndId, buffer: &mut [u8]) -> Result<Attempt<usize>, Errno> {
        let end = &self.ends[id];
        if end.mark != Some(0) {
            return self.receive(id, buffer);
        }
        Ok(if end.ended {
            Attempt::Done(0)
        } else {
            Attempt::Blocked
        })
    }

    /// Marks what is sent next as urgent, and what was marked before not.
    pub(super) fn send_mark(&mut self, id: EndId) {
        let other = self.ends[id].other;
        let end = &mut self.ends[other];
        end.mark = Some(end.inbox.len());
        self.note(other, Event::READABLE);
    }

    /// What a reset of this end would throw away.
    pub(super) fn unacknowledged(&mut self, id: EndId) -> usize {
        let other = self.ends[id].other;
        if self.ends[id].lost > 0 {
            self.ends[id].lost
        } else if self.dice.mischief(2) {
            // The acknowledgement is on its way.
            self.ends[other].inbox.len()
        } else {
            self.ends[id].acknowledged = true;
            0
        }
    }

    pub(super) fn shutdown_write(&mut self, id: EndId) -> Result<(), Errno> {
        if self.ends[id].cut {
            return Err(Errno::NOTCONN);
        }
        if !std::mem::replace(&mut self.ends[id].shut, true) {
            let other = self.ends[id].other;
            self.ends[other].ended = true;
            self.note(other, Event::END);
        }
        Ok(())
    }

    pub(super) fn take_error(&mut self, id: EndId) -> io::Result<()> {
        self.ends[id]
            .error
            .take()
            .map_or(Ok(()), |errno| Err(errno.into()))
    }

    /// Closes an end: with a reset, where the owner asked for it or had not received everything.
    pub(super) fn close(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        end.closed = true;
        self.unwatch(id);
        let end = &self.ends[id];
        let (other, resets) = (end.other, end.resets_on_close);
        if end.cut {
            return;
        }
        if !resets && end.inbox.is_empty() {
            // It can't fail for an end that was not cut.
            let _ = self.shutdown_write(id);
        } else if !self.ends[other].is_over() {
            let acknowledged = self.ends[id].acknowledged;
            if resets && !acknowledged && !self.ends[other].ended && self.dice.mischief(2) {
                // What had not left the machine is lost; the end, where it has arrived, came behind the bytes.
                let left = self.ends[other].inbox.len();
                let kept = self.dice.index(left + 1);
                self.ends[other].inbox.truncate(kept);
            }
            self.cut(other);
        }
    }

    /// An end learns that the connection is no more.
    fn cut(&mut self, id: EndId) {
        let end = &mut self.ends[id];
        end.cut = true;
        end.error = Some(if end.ended {
            Errno::PIPE
        } else {
            Errno::CONNRESET
        });
        self.note(id, Event::RESET);
    }

    fn note_room(&mut self, id: EndId) {
        if std::mem::replace(&mut self.ends[id].wants_room, false) {
            self.note(id, Event::WRITABLE);
        }
    }

    fn note(&mut self, id: EndId, event: Event) {
        let event = Event {
            marked: event.readable && self.ends[id].mark.is_some(),
            ..event
        };
        if let Some(watch) = &mut self.ends[id].watch
            && watch.note(event)
        {
            self.events.push_back(id);
        }
    }

    /// An end of the proxy's is watched again.
    pub(super) fn watch(&mut self, id: EndId) {
        self.ends[id].watch = Some(Watch::default());
        self.note_first(id);
    }

    /// What happens to an end from now on is not told.
    pub(super) fn unwatch(&mut self, id: EndId) {
        self.ends[id].watch = None;
        self.events.retain(|&waiting| waiting != id);
    }

    /// An end that is watched from now on may be ready already.
    pub(super) fn note_first(&mut self, id: EndId) {
        let end = &self.ends[id];
        let other = &self.ends[end.other];
        let event = Event {
            readable: !end.inbox.is_empty()
                || end.ended
                || end.cut
                || end.fountain.is_some()
                || end.ends_at_receive,
            writable: end.cut || other.is_drain || other.inbox.len() < other.room,
            ended: end.ended || end.cut,
            marked: end.mark.is_some(),
        };
        // As the kernel does when a watch begins (SOCK_NOSPACE).
        self.ends[id].wants_room |= !event.writable;
        self.note(id, event);
    }

    /// Makes an end a source, of so many bytes at a time, and another one a sink without end.
    pub(super) fn flood(&mut self, source: EndId, sink: EndId, bytes: usize) {
        self.ends[sink].is_drain = true;
        self.pour(source, bytes);
    }

    /// Has the end of this stream arrive when the proxy receives from it next.
    pub(super) fn end_at_receive(&mut self, source: EndId) {
        let near = self.ends[source].other;
        self.ends[near].ends_at_receive = true;
        self.note(near, Event::READABLE);
    }

    /// Makes an end a source, of so many bytes at a time.
    pub(super) fn pour(&mut self, source: EndId, bytes: usize) {
        let near = self.ends[source].other;
        self.ends[near].fountain = Some(bytes);
        self.note(near, Event::READABLE);
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Tells the scheduler of one end.
    pub(super) fn harvest(&mut self) {
        let Some(id) = self.events.pop_front() else {
            return;
        };
        if let Some(watch) = &mut self.ends[id].watch
            && let Some(task) = watch.harvest()
        {
            self.tasks.wake(task);
        }
    }

    /// A connection is run next.
    pub(super) fn begin_turn(&mut self) {
        self.turn_received = (0, 0);
    }

    fn count_received(&mut self, count: usize) -> usize {
        self.turn_received.0 += count;
        self.turn_received.1 += 1;
        assert!(
            self.turn_received.0 <= TURN_RECEIVED_MAX && self.turn_received.1 <= TURN_RECEIVES_MAX,
            "one run of a connection does not end while bytes come"
        );
        count
    }
}
