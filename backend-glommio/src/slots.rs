//! The descriptors that a driver watches, and what is known of their readiness.

use std::os::fd::RawFd;

use proxy_core::runtime::Interest;

use crate::poller::{Event, Token};
use crate::ready::TaskKey;

/// All watched descriptors of one core.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// A watched descriptor's place. Places are used again, so a token carries the place's generation: an event for
/// a descriptor that is gone must not reach its successor.
#[derive(Debug)]
struct Slot {
    generation: u32,
    fd: RawFd,
    read: Readiness,
    write: Readiness,
    /// The end of the stream, or an error, is there to be read, perhaps behind bytes. It comes as one edge.
    read_closed: bool,
    /// An urgent mark came, and a receive may have stopped short of it.
    marked: bool,
    task: TaskKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Nothing is known, and nobody asked since.
    No,
    /// The task waits for it.
    Awaited,
    /// It may be ready.
    Yes,
}

/// What an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The descriptor is gone.
    Nobody,
    /// Noted, and nobody waits for it.
    Noted(RawFd),
    /// This task waits for it.
    Task(TaskKey, RawFd),
}

impl Slots {
    /// A place for `fd`.
    pub(crate) fn insert(&mut self, fd: RawFd) -> Token {
        let slot = |generation| Slot {
            generation,
            fd,
            read: Readiness::No,
            write: Readiness::No,
            read_closed: false,
            marked: false,
            task: TaskKey::NONE,
        };
        let index = match self.free.pop() {
            Some(index) => {
                let place = &mut self.slots[index as usize];
                *place = slot(place.generation);
                index
            }
            None => {
                self.slots.push(slot(0));
                (self.slots.len() - 1) as u32
            }
        };
        token(index, self.slots[index as usize].generation)
    }

    /// Frees a place.
    pub(crate) fn remove(&mut self, token: Token) {
        let (index, _) = parts(token);
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.fd = -1;
        self.free.push(index);
    }

    /// Whether the descriptor may be ready; if not, `task` waits for it.
    pub(crate) fn check(&mut self, token: Token, interest: Interest, task: TaskKey) -> bool {
        let (index, _) = parts(token);
        let slot = &mut self.slots[index as usize];
        let readiness = slot.readiness(interest);
        if *readiness == Readiness::Yes {
            return true;
        }
        *readiness = Readiness::Awaited;
        slot.task = task;
        false
    }

    /// The next attempt is made whatever is known.
    pub(crate) fn assume_ready(&mut self, token: Token, interest: Interest) {
        let (index, _) = parts(token);
        *self.slots[index as usize].readiness(interest) = Readiness::Yes;
    }

    /// Whether an urgent mark may be ahead.
    pub(crate) fn has_mark(&self, token: Token) -> bool {
        let (index, _) = parts(token);
        self.slots[index as usize].marked
    }

    /// An attempt worked and left nothing, except perhaps the end of the stream, or what is behind an urgent mark.
    pub(crate) fn on_drained(&mut self, token: Token, interest: Interest) {
        let (index, _) = parts(token);
        let slot = &mut self.slots[index as usize];
        if interest == Interest::Write || !(slot.read_closed || slot.marked) {
            *slot.readiness(interest) = Readiness::No;
        }
    }

    /// An attempt could do nothing.
    pub(crate) fn on_blocked(&mut self, token: Token, interest: Interest) {
        let (index, _) = parts(token);
        let slot = &mut self.slots[index as usize];
        *slot.readiness(interest) = Readiness::No;
        if interest == Interest::Read {
            slot.marked = false;
        }
    }

    /// Notes an event.
    pub(crate) fn on_event(&mut self, event: Event) -> Target {
        let (index, generation) = parts(event.token);
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Target::Nobody;
        };
        if slot.generation != generation || slot.fd < 0 {
            return Target::Nobody;
        }
        slot.read_closed |= event.closed;
        slot.marked |= event.marked;
        let mut awaited = false;
        for (ready, readiness) in [
            (event.readable, &mut slot.read),
            (event.writable, &mut slot.write),
        ] {
            if ready {
                awaited |= *readiness == Readiness::Awaited;
                *readiness = Readiness::Yes;
            }
        }
        if awaited {
            Target::Task(slot.task, slot.fd)
        } else {
            Target::Noted(slot.fd)
        }
    }
}

impl Slot {
    fn readiness(&mut self, interest: Interest) -> &mut Readiness {
        match interest {
            Interest::Read => &mut self.read,
            Interest::Write => &mut self.write,
        }
    }
}

fn token(index: u32, generation: u32) -> Token {
    u64::from(generation) << 32 | u64::from(index)
}

fn parts(token: Token) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskKey = TaskKey { lane: 1, index: 7 };

    fn event(token: Token, readable: bool, writable: bool) -> Event {
        Event {
            token,
            readable,
            writable,
            closed: false,
            marked: false,
            ended: false,
        }
    }

    #[test]
    fn a_task_is_run_only_for_what_it_waits_for() {
        let mut slots = Slots::default();
        let token = slots.insert(5);
        assert!(!slots.check(token, Interest::Read, TASK));
        assert_eq!(slots.on_event(event(token, false, true)), Target::Noted(5));
        assert_eq!(
            slots.on_event(event(token, true, true)),
            Target::Task(TASK, 5)
        );
        assert!(slots.check(token, Interest::Read, TASK));
        assert_eq!(slots.on_event(event(token, true, false)), Target::Noted(5));
        slots.on_drained(token, Interest::Read);
        assert!(!slots.check(token, Interest::Read, TASK));
    }

    #[test]
    fn the_end_behind_the_last_bytes_is_not_forgotten() {
        let mut slots = Slots::default();
        let token = slots.insert(5);
        let closed = Event {
            closed: true,
            ..event(token, true, false)
        };
        slots.on_event(closed);
        slots.on_drained(token, Interest::Read);
        assert!(slots.check(token, Interest::Read, TASK));
        // A descriptor that says otherwise is believed, so that its task doesn't spin.
        slots.on_blocked(token, Interest::Read);
        assert!(!slots.check(token, Interest::Read, TASK));
    }

    #[test]
    fn what_is_behind_an_urgent_mark_is_not_forgotten() {
        let mut slots = Slots::default();
        let token = slots.insert(5);
        let marked = Event {
            marked: true,
            ..event(token, true, false)
        };
        slots.on_event(marked);
        slots.on_drained(token, Interest::Read);
        assert!(slots.has_mark(token) && slots.check(token, Interest::Read, TASK));
        slots.on_blocked(token, Interest::Read);
        assert!(!slots.has_mark(token) && !slots.check(token, Interest::Read, TASK));
    }

    #[test]
    fn an_event_does_not_reach_the_successor() {
        let mut slots = Slots::default();
        let old = slots.insert(5);
        slots.remove(old);
        assert_eq!(slots.on_event(event(old, true, true)), Target::Nobody);
        let new = slots.insert(6);
        assert_ne!(old, new);
        assert!(!slots.check(new, Interest::Read, TASK));
        assert_eq!(slots.on_event(event(old, true, true)), Target::Nobody);
        assert_eq!(
            slots.on_event(event(new, true, true)),
            Target::Task(TASK, 6)
        );
    }
}
