//! What is held against a server: one word that a pick reads, and the state that people are shown.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::carry::{Error, Fields, Writer};
use crate::epoch::Epoch;

/// What may be held against a server, each by who knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its checks say that it is down; without checks, the last connect to it failed.
    Down,
    /// Its connections have gone wrong too often, and it is left alone for a while.
    Ejected,
    /// It is to get no new connection, and those that it has may finish.
    Draining,
    /// It is taken out of service.
    Maintenance,
    /// Its checks know what a server is, and it is not what it should be: a standby where the primary is meant.
    Unfit,
    /// Its agent says that it is down.
    AgentDown,
    /// Its agent wants no new connections for it, and those that it has may finish.
    AgentDraining,
    /// Its agent takes it out of service.
    AgentMaintenance,
}

impl Hold {
    /// Every hold, in the order of their bits.
    pub const ALL: [Self; 8] = [
        Self::Down,
        Self::Ejected,
        Self::Draining,
        Self::Maintenance,
        Self::Unfit,
        Self::AgentDown,
        Self::AgentDraining,
        Self::AgentMaintenance,
    ];

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// All that is held against a server at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds(u32);

impl Holds {
    /// Whether a hold is among them.
    pub const fn has(self, hold: Hold) -> bool {
        self.0 & hold.bit() != 0
    }

    /// The others.
    pub(crate) const fn without(self, hold: Hold) -> Self {
        Self(self.0 & !hold.bit())
    }

    /// Whether it gets no new connection, whatever becomes of the others.
    pub const fn is_closed(self) -> bool {
        const CLOSED: u32 = Hold::Draining.bit()
            | Hold::Maintenance.bit()
            | Hold::Unfit.bit()
            | Hold::AgentDown.bit()
            | Hold::AgentDraining.bit()
            | Hold::AgentMaintenance.bit();
        self.0 & CLOSED != 0
    }

    /// Whether neither checks nor an agent say that it is down.
    pub const fn is_up(self) -> bool {
        !self.has(Hold::Down) && !self.has(Hold::AgentDown)
    }

    /// Whether there are none.
    pub const fn is_clear(self) -> bool {
        self.0 == 0
    }
}

/// Where the holds on a server stand. All workers read one word of it for each server that they consider; it is written on
/// a change only, so its cache line stays shared.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    holds: AtomicU32,
    /// The first moment that a hold was set.
    epoch: Epoch,
    /// Nanoseconds from there, plus one, by the hold; zero where nobody has noted it.
    since: [AtomicU64; Hold::ALL.len()],
    /// When the last hold was lifted, or the server came; for people, and touched at such a change only.
    clear: Mutex<Option<Instant>>,
}

impl Standing {
    /// All that is held against it now: one relaxed load.
    pub(crate) fn holds(&self) -> Holds {
        Holds(self.holds.load(Relaxed))
    }

    /// Sets a hold, or lifts it. Returns whether that is a change; of several threads that make the same one, it is one's.
    pub(crate) fn set(&self, hold: Hold, holds: bool, now: Instant) -> bool {
        if self.holds().has(hold) == holds {
            return false;
        }
        if holds {
            // First, so that who sees the hold doesn't find the moment of an earlier one.
            self.since[hold as usize].store(self.epoch.note(now) + 1, Relaxed);
        }
        self.change(hold, holds, now)
    }

    /// The same without a note of since when a hold holds.
    pub(crate) fn change(&self, hold: Hold, holds: bool, now: Instant) -> bool {
        if holds {
            self.begin(hold)
        } else {
            self.lift(hold, now)
        }
    }

    /// Sets a hold. Returns whether that is a change.
    pub(crate) fn begin(&self, hold: Hold) -> bool {
        !self.holds().has(hold) && !Holds(self.holds.fetch_or(hold.bit(), Relaxed)).has(hold)
    }

    fn lift(&self, hold: Hold, now: Instant) -> bool {
        if !self.holds().has(hold) {
            return false;
        }
        let before = Holds(self.holds.fetch_and(!hold.bit(), Relaxed));
        if before == Holds(hold.bit()) {
            self.begin_clear(now);
        }
        before.has(hold)
    }

    /// Nothing is held against it since then.
    pub(crate) fn begin_clear(&self, since: Instant) {
        *self.lock() = Some(since);
    }

    /// Since when nothing is held against it; none: something is, or nobody has said when the server came.
    pub(crate) fn clear_since(&self) -> Option<Instant> {
        let since = *self.lock();
        since.filter(|_| self.holds().is_clear())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.clear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when a hold holds; none: it doesn't.
    pub(crate) fn since(&self, hold: Hold) -> Option<Instant> {
        let after = self.since[hold as usize].load(Relaxed).checked_sub(1)?;
        self.holds().has(hold).then(|| self.epoch.moment(after))?
    }
}

mod tag {
    pub(super) const HOLD: u8 = 0;
    pub(super) const SINCE: u8 = 1;
}

impl Hold {
    /// What it is called between processes.
    const fn label(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Unfit => "unfit",
            Self::AgentDown => "agent_down",
            Self::AgentDraining => "agent_draining",
            Self::AgentMaintenance => "agent_maintenance",
        }
    }
}

impl Standing {
    pub(super) fn encode(&self, tag: u8, out: &mut Writer<'_>) {
        let held = Hold::ALL.into_iter().filter(|&hold| self.holds().has(hold));
        out.each(tag, held, |out, hold| {
            out.text(tag::HOLD, hold.label());
            out.maybe_moment(tag::SINCE, self.since(hold));
        });
    }

    /// What another process held against it, of `which` only, is held against it here, and nothing else of these. A hold that is new
    /// to this process is none.
    pub(super) fn decode(
        &self,
        tag: u8,
        which: &[Hold],
        fields: &mut Fields<'_>,
        now: Instant,
    ) -> Result<(), Error> {
        let mut held = Vec::new();
        let what = "what is held against a server";
        fields.each(tag, Hold::ALL.len() * 2, what, |one| {
            let label = one.name(tag::HOLD, what)?;
            let since = one.maybe_moment(tag::SINCE, what)?;
            let hold = which.iter().find(|hold| hold.label() == label);
            held.extend(hold.map(|&hold| (since.unwrap_or(now), hold)));
            Ok(())
        })?;
        // The first one is what the others are counted from.
        held.sort_by_key(|&(since, _)| since);
        for &hold in which {
            if !held.iter().any(|&(_, held)| held == hold) {
                self.change(hold, false, now);
            }
        }
        for (since, hold) in held {
            self.set(hold, true, since);
        }
        Ok(())
    }
}

/// The state of a server, as people are shown it: the weightiest of what is held against it. The variants are in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// [`Hold::Maintenance`] and [`Hold::AgentMaintenance`].
    Maintenance,
    /// [`Hold::Draining`] and [`Hold::AgentDraining`].
    Draining,
    /// [`Hold::Down`], by checks, [`Hold::Unfit`] and [`Hold::AgentDown`].
    Down,
    /// [`Hold::Ejected`].
    Ejected,
    /// [`Hold::Down`], by the last connect.
    Failing,
    /// It has as many connections as it may have.
    Full,
    /// It gets connections.
    Up,
}

impl ServerState {
    /// Every state, in the order of their weight.
    pub const ALL: [Self; 7] = [
        Self::Maintenance,
        Self::Draining,
        Self::Down,
        Self::Ejected,
        Self::Failing,
        Self::Full,
        Self::Up,
    ];

    /// That of a server with these holds; `is_checked` says whether checks say whether it is down.
    pub const fn of(holds: Holds, is_checked: bool, is_full: bool) -> Self {
        let is_down = holds.has(Hold::Down);
        if holds.has(Hold::Maintenance) || holds.has(Hold::AgentMaintenance) {
            Self::Maintenance
        } else if holds.has(Hold::Draining) || holds.has(Hold::AgentDraining) {
            Self::Draining
        } else if is_down && is_checked || holds.has(Hold::AgentDown) {
            Self::Down
        } else if holds.has(Hold::Ejected) {
            Self::Ejected
        } else if is_down {
            Self::Failing
        } else if is_full {
            Self::Full
        } else {
            Self::Up
        }
    }

    /// The label's value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Failing => "failing",
            Self::Full => "full",
            Self::Up => "up",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::epoch::origin;

    #[test]
    fn each_hold_stands_by_itself_with_its_moment() {
        let (standing, now) = (Standing::default(), origin());
        let second = Duration::from_secs(1);
        assert!(standing.set(Hold::Draining, true, now));
        assert!(!standing.set(Hold::Draining, true, now + second));
        assert!(standing.set(Hold::Ejected, true, now + 2 * second));
        assert_eq!(standing.since(Hold::Draining), Some(now));
        assert_eq!(standing.since(Hold::Ejected), Some(now + 2 * second));
        assert!(standing.holds().is_closed());
        assert!(standing.set(Hold::Draining, false, now + 3 * second));
        assert_eq!(standing.since(Hold::Draining), None);
        assert!(!standing.holds().is_closed() && !standing.holds().is_clear());
        assert_eq!(standing.clear_since(), None);
        assert!(standing.set(Hold::Ejected, false, now + 4 * second));
        assert!(standing.holds().is_clear());
        assert_eq!(standing.clear_since(), Some(now + 4 * second));
        assert!(!standing.set(Hold::Ejected, false, now + 5 * second));
        assert_eq!(standing.clear_since(), Some(now + 4 * second));
    }

    proptest! {
        /// Whatever is held against a server, the weightiest is what is shown, and only that.
        #[test]
        fn the_weightiest_is_shown(held in prop::collection::vec(any::<bool>(), 8), is_checked: bool, is_full: bool) {
            let standing = Standing::default();
            for (hold, &holds) in Hold::ALL.into_iter().zip(&held) {
                standing.change(hold, holds, origin());
            }
            let [down, ejected, draining, maintenance, _, agent_down, agent_draining, agent_maintenance] = held[..] else {
                unreachable!()
            };
            let holds = |state| match state {
                ServerState::Maintenance => maintenance || agent_maintenance,
                ServerState::Draining => draining || agent_draining,
                ServerState::Down => down && is_checked || agent_down,
                ServerState::Ejected => ejected,
                ServerState::Failing => down && !is_checked,
                ServerState::Full => is_full,
                ServerState::Up => true,
            };
            let wanted = ServerState::ALL.into_iter().find(|&state| holds(state));
            prop_assert_eq!(Some(ServerState::of(standing.holds(), is_checked, is_full)), wanted);
        }
    }
}
