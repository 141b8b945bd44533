//! How many bytes a listener and each of its connections may forward in a second, each way.
//!
//! The listener has a bucket for each direction, which all workers share. A worker takes from it by the quantum, and keeps what
//! its connections leave; so small messages touch nothing that another worker writes, but for one in a quantum. Where the
//! bucket is empty, a connection reserves a quantum ahead of time and sleeps until that is due: connections get theirs in the
//! order in which they asked, and none is woken for nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::admission::rate::{Meter, Rate};
use crate::metrics::{PerWorker, Slot};

/// Bytes that a direction of a connection gets at a time, at most: as many as a turn forwards.
pub const QUANTUM_MAX: u64 = 256 * 1024;

/// The same at least.
pub const QUANTUM_MIN: u64 = 1024;

/// A quantum is what flows in a hundredth of a second, within its bounds.
const QUANTA_A_SECOND: u64 = 100;

/// What may go at once after a silence is what flows in a tenth of a second, or a quantum.
const BURSTS_A_SECOND: u64 = 10;

/// Bytes of a direction at a time, for so many a second.
pub(crate) fn quantum(per_second: u64) -> u64 {
    (per_second / QUANTA_A_SECOND).clamp(QUANTUM_MIN, QUANTUM_MAX)
}

/// So many bytes a second, with the burst that belongs to it.
pub(crate) fn rate(per_second: u64) -> Rate {
    let burst = (per_second / BURSTS_A_SECOND).max(quantum(per_second));
    Rate::of_bytes(per_second, burst)
}

/// Which way bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Bytes a second, each way; none: as many as go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthSettings {
    /// Of the listener's connections together.
    pub listener: Option<u64>,
    /// Of each connection.
    pub connection: Option<u64>,
}

/// The bandwidth of a listener. It follows the settings that are in force, for connections of all settings.
#[derive(Debug, Default)]
pub struct Bandwidth {
    /// How often it was set; 0: never to anything.
    generation: AtomicU64,
    current: Mutex<(BandwidthSettings, Option<Arc<Shared>>)>,
}

/// What the connections of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    quantum: u64,
    buckets: [Meter; 2],
    /// What each worker has taken and its connections have not used: of each direction a quantum at most.
    left: PerWorker<[Left; 2]>,
}

/// Bytes that a worker has left. Only that worker writes it.
#[derive(Debug, Default)]
struct Left(AtomicU64);

/// What a direction gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// So many bytes now.
    Now(u64),
    /// So many bytes from then on.
    Later(u64, Instant),
}

impl Bandwidth {
    /// Has these settings in force. Returns whether they are others than before.
    pub fn set(&self, settings: BandwidthSettings) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = current.0 != settings;
        if is_other {
            if current.0.listener != settings.listener {
                current.1 = settings.listener.map(|rate| Arc::new(Shared::new(rate)));
            }
            current.0 = settings;
            self.generation.fetch_add(1, Relaxed);
        }
        is_other
    }

    /// How often it was set; 0 while nothing was ever limited. Read once a turn: it is written at a change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// What is in force: the rate of a connection, and what the listener's share.
    pub(crate) fn current(&self) -> (Option<u64>, Option<Arc<Shared>>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.0.connection, current.1.clone())
    }
}

impl Shared {
    /// When each direction's bucket is full again: up, and down.
    pub(crate) fn full_at(&self) -> [Option<Instant>; 2] {
        self.buckets.each_ref().map(Meter::full_at)
    }

    /// A direction's bucket is full again at that moment, as another process has left it.
    pub(crate) fn go_on(&self, way: Way, full_at: Instant, now: Instant) {
        self.buckets[way as usize].go_on(full_at, now);
    }

    fn new(per_second: u64) -> Self {
        let rate = rate(per_second);
        Self {
            quantum: quantum(per_second),
            buckets: [Meter::new(rate), Meter::new(rate)],
            left: PerWorker::default(),
        }
    }

    /// Bytes for a direction on this worker, `most` at most, which is not zero.
    pub(crate) fn ask(&self, way: Way, slot: Slot, now: Instant, most: u64) -> Grant {
        let bucket = &self.buckets[way as usize];
        let left = &self.left.of(slot)[way as usize];
        // No grants of a few bytes, as long as there are more.
        let lacking = self.quantum - left.get();
        if left.get() < self.quantum / 4 && bucket.take(now, lacking).is_ok() {
            left.set(self.quantum);
        }
        let count = left.get().min(most);
        if count > 0 {
            left.set(left.get() - count);
            return Grant::Now(count);
        }
        let count = self.quantum.min(most);
        let due = bucket.reserve(now, count);
        if due <= now {
            Grant::Now(count)
        } else {
            Grant::Later(count, due)
        }
    }

    /// Takes so many bytes of a direction ahead of time. Returns when they are due.
    pub(crate) fn reserve(&self, way: Way, now: Instant, count: u64) -> Instant {
        self.buckets[way as usize].reserve(now, count)
    }

    /// Takes back what was granted on this worker and not used.
    pub(crate) fn give_back(&self, way: Way, slot: Slot, count: u64) {
        let left = &self.left.of(slot)[way as usize];
        let all = left.get() + count;
        let kept = all.min(self.quantum);
        left.set(kept);
        self.put_back(way, all - kept);
    }

    /// The same for what is not due yet.
    pub(crate) fn put_back(&self, way: Way, count: u64) {
        if count > 0 {
            self.buckets[way as usize].put_back(count);
        }
    }
}

impl Left {
    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn set(&self, count: u64) {
        self.0.store(count, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::time::Duration;

    use super::*;
    use crate::epoch::origin;
    use crate::metrics::Slots;

    #[test]
    fn nothing_is_limited_until_it_is_set() {
        let bandwidth = Bandwidth::default();
        assert!(!bandwidth.set(BandwidthSettings::default()));
        assert_eq!(bandwidth.generation(), 0);
        let limited = BandwidthSettings {
            listener: Some(1000),
            connection: None,
        };
        assert!(bandwidth.set(limited) && !bandwidth.set(limited));
        let shared = bandwidth.current().1.expect("a bucket");
        let more = BandwidthSettings {
            connection: Some(5),
            ..limited
        };
        assert!(bandwidth.set(more));
        assert_eq!(bandwidth.generation(), 2);
        let same = bandwidth.current().1.expect("a bucket");
        assert!(Arc::ptr_eq(&shared, &same), "its rate is the same");
        assert!(bandwidth.set(BandwidthSettings::default()));
        assert!(bandwidth.current().1.is_none());
    }

    #[test]
    fn small_messages_touch_the_bucket_once_in_a_quantum() {
        let shared = Shared::new(100 << 20);
        let slot = Slots::default().lend(1).expect("there is room").slot(0);
        let now = origin();
        for _ in 0..1000 {
            let Grant::Now(count) = shared.ask(Way::Up, slot, now, 256 << 10) else {
                panic!("there is enough");
            };
            shared.give_back(Way::Up, slot, count - 64);
        }
        // 64,000 bytes were used, of one quantum.
        let later = now + Duration::from_millis(1);
        let full = shared.buckets[Way::Up as usize].take(later, (10 << 20) - (256 << 10));
        full.expect("the rest of a burst is left");
    }

    proptest! {
        /// Whatever connections on two workers ask for and use: what is used by a moment is what the rate allows for the time
        /// until then, a burst, and a quantum a worker.
        #[test]
        fn no_more_is_used_than_the_rate_allows(
            per_second in prop::sample::select(vec![1_000_u64, 50_000, 3_000_000, 900_000_000]),
            events in prop::collection::vec((0_u64..20, 0_usize..6, 0_u64..=100), 1..400),
        ) {
            let shared = Shared::new(per_second);
            let row = Slots::default().lend(2).expect("there is room");
            let begin = origin();
            let (mut now, mut used) = (Duration::ZERO, 0);
            let mut waiting = [None; 6];
            for (milliseconds, connection, part) in events {
                now += Duration::from_millis(milliseconds);
                let slot = row.slot(connection % 2);
                let at = begin + now;
                let grant = waiting[connection].take().unwrap_or_else(|| shared.ask(Way::Down, slot, at, 256 << 10));
                match grant {
                    Grant::Later(_, due) if due > at => waiting[connection] = Some(grant),
                    Grant::Now(count) | Grant::Later(count, _) => {
                        let taken = count * part / 100;
                        used += taken;
                        shared.give_back(Way::Down, slot, count - taken);
                    }
                }
                let flown = now.as_nanos() * u128::from(per_second) / 1_000_000_000;
                let burst = (per_second / BURSTS_A_SECOND).max(quantum(per_second));
                // One quantum a worker, and one that each connection may have reserved and found due.
                let bound = flown + u128::from(burst + 2 * quantum(per_second));
                prop_assert!(u128::from(used) <= bound + u128::from(per_second / 1_000_000), "{used} of {bound}");
            }
        }

        /// Those who wait get all that flows.
        #[test]
        fn nothing_is_lost_while_somebody_waits(connections in 1_usize..50) {
            const RATE: u64 = 1 << 20;
            let shared = Shared::new(RATE);
            let slot = Slots::default().lend(1).expect("there is room").slot(0);
            let begin = origin();
            let mut due = vec![(begin, 0); connections];
            let mut used = 0;
            // Each runs when what it waits for is due, all of a second.
            loop {
                let next = (0..connections).min_by_key(|&one| due[one].0).expect("one");
                let (now, count) = due[next];
                if now >= begin + Duration::from_secs(1) {
                    break;
                }
                used += count;
                due[next] = match shared.ask(Way::Up, slot, now, 256 << 10) {
                    Grant::Now(count) => (now, count),
                    Grant::Later(count, due) => (due, count),
                };
            }
            let waiting = connections as u64 * quantum(RATE);
            prop_assert!(used + waiting >= RATE, "{used}");
            prop_assert!(used <= RATE + RATE / BURSTS_A_SECOND + 2 * quantum(RATE), "{used}");
        }
    }
}
