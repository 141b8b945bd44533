//! How much a connection may forward now, where its listener's bandwidth is limited.

mod carried;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::bandwidth::{self, Bandwidth, Grant, Shared, Way};
use crate::admission::rate::Rate;
use crate::metrics::Slot;
use crate::relay::flow::Flow;

/// What a direction may receive in a turn, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) up: usize,
    pub(crate) down: usize,
    /// No receive may take more than that. Else a turn may end with a receive that does.
    pub(crate) is_paced: bool,
    /// What was heard of the client before it had a server is not due yet: nothing goes up.
    pub(crate) holds_up: bool,
}

impl Budget {
    /// So much each way, without a limit in time.
    pub(crate) const fn both(bytes: usize) -> Self {
        Self {
            up: bytes,
            down: bytes,
            is_paced: false,
            holds_up: false,
        }
    }

    /// What a direction may forward that may receive so much: where it is paced, what it holds was counted before.
    pub(crate) const fn of(&self, bytes: usize, flow: &Flow) -> usize {
        if self.is_paced {
            bytes + flow.held()
        } else {
            bytes
        }
    }
}

/// The pace of a connection.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Of its listener's bandwidth.
    generation: u64,
    shared: Option<Arc<Shared>>,
    own: Option<Own>,
    purses: [Purse; 2],
    opening: Option<Opening>,
}

/// What was heard of the client before it had a server: it waits for its time as what comes later does.
#[derive(Clone, Copy, Debug)]
struct Opening {
    bytes: u64,
    due: Instant,
}

/// A connection's own limit.
#[derive(Debug)]
struct Own {
    rate: Rate,
    quantum: u64,
    /// When the pace began: moments are counted from there.
    since: Instant,
}

/// What a direction has.
#[derive(Debug, Default)]
struct Purse {
    /// Bytes that the listener has granted.
    granted: u64,
    /// From when on; none: now.
    due: Option<Instant>,
    /// When its own bucket is full again.
    full_at: u64,
    /// When it may receive again, if it has to wait.
    waits_until: Option<Instant>,
}

impl Pace {
    /// That of a connection which begins to be limited, or whose limits have changed; none without limits.
    pub(crate) fn new(bandwidth: &Bandwidth, now: Instant) -> Self {
        let generation = bandwidth.generation();
        let (connection, shared) = bandwidth.current();
        let own = connection.map(|per_second| Own {
            rate: bandwidth::rate(per_second),
            quantum: bandwidth::quantum(per_second),
            since: now,
        });
        Self {
            generation,
            shared,
            own,
            purses: <[Purse; 2]>::default(),
            opening: None,
        }
    }

    /// So many bytes were heard of the client before, and wait to be sent.
    pub(crate) fn on_opening(&mut self, bytes: u64, now: Instant) {
        let mut due = now;
        let purse = &mut self.purses[Way::Up as usize];
        if let Some(own) = &self.own {
            let at = own.at(now);
            if let Err(enough_at) = own.rate.take(purse.full_at, at, bytes) {
                due = own.since + Duration::from_nanos(enough_at);
            }
            purse.full_at = purse.full_at.max(at).saturating_add(own.rate.cost(bytes));
        }
        if let Some(shared) = &self.shared {
            due = due.max(shared.reserve(Way::Up, now, bytes));
        }
        self.opening = (due > now).then_some(Opening { bytes, due });
    }

    /// Whether that is not sent yet.
    pub(crate) fn has_opening(&self) -> bool {
        self.opening.is_some()
    }

    /// Whether these are the limits that are in force.
    pub(crate) fn is_of(&self, generation: u64) -> bool {
        self.generation == generation
    }

    /// What may be received now, `most` a direction.
    pub(crate) fn budget(&mut self, slot: Slot, now: Instant, most: usize) -> Budget {
        if self.shared.is_none() && self.own.is_none() {
            return Budget::both(most);
        }
        let down = self.ask(Way::Down, slot, now, most as u64) as usize;
        self.opening.take_if(|opening| opening.due <= now);
        let holds_up = self.opening.is_some();
        let up = match self.opening {
            Some(opening) => {
                self.purses[Way::Up as usize].waits_until = Some(opening.due);
                0
            }
            None => self.ask(Way::Up, slot, now, most as u64) as usize,
        };
        Budget {
            up,
            down,
            is_paced: true,
            holds_up,
        }
    }

    /// So many bytes were received of what there was.
    pub(crate) fn on_received(&mut self, way: Way, slot: Slot, now: Instant, count: u64) {
        let purse = &mut self.purses[way as usize];
        if let Some(own) = &self.own {
            let at = own.at(now);
            purse.full_at = purse.full_at.max(at).saturating_add(own.rate.cost(count));
        }
        if let Some(shared) = &self.shared
            && purse.due.is_none()
        {
            shared.give_back(way, slot, purse.granted.saturating_sub(count));
            purse.granted = 0;
        }
    }

    /// When a direction that waits may receive again.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        let purses = self.purses.iter();
        purses.filter_map(|purse| purse.waits_until).min()
    }

    /// Whether a direction waits.
    pub(crate) fn waits(&self, way: Way) -> bool {
        self.purses[way as usize].waits_until.is_some()
    }

    /// Gives back what is not due yet: the connection ends, or its limits change.
    pub(crate) fn give_up(&mut self) {
        if let Some(shared) = &self.shared {
            for way in [Way::Up, Way::Down] {
                let granted = std::mem::take(&mut self.purses[way as usize].granted);
                shared.put_back(way, granted);
            }
            if let Some(opening) = self.opening.take() {
                shared.put_back(Way::Up, opening.bytes);
            }
        }
    }

    fn ask(&mut self, way: Way, slot: Slot, now: Instant, most: u64) -> u64 {
        let purse = &mut self.purses[way as usize];
        purse.waits_until = None;
        let mut most = most;
        if let Some(own) = &self.own {
            let at = own.at(now);
            match own.rate.available(purse.full_at, at) {
                enough if enough >= own.quantum => most = most.min(enough),
                _ => {
                    let enough_at = own.rate.take(purse.full_at, at, own.quantum);
                    let enough_at = enough_at.err().unwrap_or(at).max(at + 1);
                    purse.waits_until = Some(own.since + Duration::from_nanos(enough_at));
                    return 0;
                }
            }
        }
        let Some(shared) = &self.shared else {
            return most;
        };
        if purse.granted == 0 {
            match shared.ask(way, slot, now, most) {
                Grant::Now(count) => (purse.granted, purse.due) = (count, None),
                Grant::Later(count, due) => (purse.granted, purse.due) = (count, Some(due)),
            }
        }
        match purse.due {
            Some(due) if due > now => {
                purse.waits_until = Some(due);
                0
            }
            _ => {
                purse.due = None;
                purse.granted.min(most)
            }
        }
    }
}

impl Own {
    fn at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admission::bandwidth::BandwidthSettings;
    use crate::epoch::origin;
    use crate::metrics::Slots;

    fn pace(listener: Option<u64>, connection: Option<u64>, now: Instant) -> (Bandwidth, Pace) {
        let bandwidth = Bandwidth::default();
        bandwidth.set(BandwidthSettings {
            listener,
            connection,
        });
        let pace = Pace::new(&bandwidth, now);
        (bandwidth, pace)
    }

    #[test]
    fn limits_that_are_gone_limit_nothing() {
        let now = origin();
        let (bandwidth, mut pace) = pace(Some(1000), None, now);
        let slot = Slots::default().lend(1).expect("there is room").slot(0);
        assert!(pace.budget(slot, now, 1 << 18).is_paced);
        bandwidth.set(BandwidthSettings::default());
        assert!(!pace.is_of(bandwidth.generation()));
        let mut pace = Pace::new(&bandwidth, now);
        assert!(!pace.budget(slot, now, 1 << 18).is_paced);
        assert_eq!(pace.waits_until(), None);
    }

    proptest! {
        /// A source that always has bytes: by each moment no more than the tighter rate allows, and after a second nearly as
        /// much. It never asks in vain twice for the same moment.
        #[test]
        fn a_source_that_never_stops_is_paced(
            listener in prop::option::of(2_000_u64..100_000_000),
            connection in prop::option::of(2_000_u64..100_000_000),
            late in 0_u64..3_000,
        ) {
            let begin = origin();
            let (_bandwidth, mut pace) = pace(listener, connection, begin);
            let Some(rate) = listener.into_iter().chain(connection).min() else {
                return Ok(());
            };
            let slot = Slots::default().lend(1).expect("there is room").slot(0);
            let (mut now, mut received, mut turns) = (begin, 0_u64, 0);
            let end = begin + Duration::from_secs(2);
            while now < end {
                let budget = pace.budget(slot, now, 256 << 10);
                prop_assert!(budget.is_paced);
                received += budget.up as u64;
                pace.on_received(Way::Up, slot, now, budget.up as u64);
                pace.on_received(Way::Down, slot, now, 0);
                let elapsed = now.duration_since(begin).as_secs_f64();
                let slack = rate / 10 + 2 * bandwidth::quantum(rate) + 1000;
                prop_assert!(received as f64 <= elapsed * rate as f64 + slack as f64);
                if budget.up == 0 {
                    let until = pace.waits_until().expect("it waits");
                    prop_assert!(until > now);
                    // A timer is late.
                    now = until + Duration::from_micros(late);
                }
                turns += 1;
                prop_assert!(turns < 5_000);
            }
            prop_assert!(received as f64 >= rate as f64 * 1.7 - 2.0 * bandwidth::quantum(rate) as f64, "{received} of {rate}");
        }
    }
}
