//! When the kernel is to gather more before it says that a source has something (`SO_RCVLOWAT`).
//!
//! A proxy that keeps up with its source is woken for every few packets. A wake for each 256 KiB saves a fifth to a
//! half of the CPU that bulk costs (docs/BENCHMARKS.md). What is less than that when the source pauses would wait for
//! ever, so a direction that has not moved for [`LOW_WATER_PATIENCE`] is told to wait for nothing again, and has to
//! flow for twice as long before it gathers the next time: the end of a burst is late by so much a few times in a
//! connection's life, and then once in [`FLOWED_TO_RAISE_MAX`] bytes at most.
//!
//! Linux 4.18 and later wake at once who lowers the mark below what there is, and whoever's window has no room left.
//! Unix sockets have no such mark, and don't mind.

use std::time::{Duration, Instant};

/// Bytes that are gathered, unless the socket's buffer is too small for them; then the kernel makes it larger within
/// `net.ipv4.tcp_rmem`, or gathers less.
pub const LOW_WATER_BYTES: usize = 256 * 1024;

/// How long a direction that gathers may move nothing. A flow that takes longer for [`LOW_WATER_BYTES`], which is one of
/// less than 64 MB/s, doesn't gather.
pub const LOW_WATER_PATIENCE: Duration = Duration::from_millis(4);

/// Bytes through a pipe without a pause, after which a direction gathers for the first time.
pub const FLOWED_TO_RAISE: u64 = 1024 * 1024;

/// The same after many pauses.
pub const FLOWED_TO_RAISE_MAX: u64 = 64 * 1024 * 1024;

/// Whether one direction gathers.
#[derive(Debug)]
pub(crate) struct LowWater {
    raised: bool,
    moved_at: Option<Instant>,
    /// Bytes since the last pause.
    flowed: u64,
    /// Bytes after which it is raised.
    needed: u64,
}

impl LowWater {
    /// A direction that doesn't.
    pub(crate) const fn new() -> Self {
        Self {
            raised: false,
            moved_at: None,
            flowed: 0,
            needed: FLOWED_TO_RAISE,
        }
    }

    /// A turn moved `count` bytes through a pipe. True when the mark is to be raised now.
    pub(crate) fn on_moved(&mut self, count: u64, now: Instant) -> bool {
        if self.deadline_from(self.moved_at).is_some_and(|at| at < now) {
            self.flowed = 0;
        }
        self.flowed += count;
        self.moved_at = Some(now);
        let raises = !self.raised && self.flowed >= self.needed;
        self.raised |= raises;
        raises
    }

    /// When a direction that gathers has paused, if it moves nothing until then.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline_from(self.moved_at.filter(|_| self.raised))
    }

    /// Time has passed. True when the mark is to be lowered now.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        let paused = self.deadline().is_some_and(|at| at <= now);
        if paused {
            self.needed = (self.needed * 2).min(FLOWED_TO_RAISE_MAX);
        }
        paused && self.lower()
    }

    /// The direction is not bulk any more, or has paused. True when the mark is to be lowered now.
    pub(crate) fn lower(&mut self) -> bool {
        self.flowed = 0;
        std::mem::take(&mut self.raised)
    }

    fn deadline_from(&self, moved_at: Option<Instant>) -> Option<Instant> {
        moved_at.map(|moved_at| moved_at + LOW_WATER_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = FLOWED_TO_RAISE / 4;

    /// Moves chunks a millisecond apart until the mark is raised; how many it took.
    fn flow(low_water: &mut LowWater, now: &mut Instant) -> u64 {
        for chunk in 1..=4 * FLOWED_TO_RAISE_MAX / CHUNK {
            *now += Duration::from_millis(1);
            if low_water.on_moved(CHUNK, *now) {
                return chunk;
            }
        }
        panic!("it is never raised")
    }

    #[test]
    fn an_unbroken_flow_gathers_and_a_pause_ends_it() {
        let (mut low_water, mut now) = (LowWater::new(), start());
        assert_eq!(flow(&mut low_water, &mut now), 4);
        assert!(
            !low_water.on_moved(CHUNK, now),
            "it is raised once, not each time"
        );
        assert!(!low_water.on_time(now + LOW_WATER_PATIENCE / 2));
        assert_eq!(low_water.deadline(), Some(now + LOW_WATER_PATIENCE));
        assert!(low_water.on_time(now + LOW_WATER_PATIENCE));
        assert_eq!(low_water.deadline(), None);
        assert!(!low_water.on_time(now + LOW_WATER_PATIENCE));
    }

    #[test]
    fn each_pause_asks_for_a_longer_flow() {
        let (mut low_water, mut now) = (LowWater::new(), start());
        let mut taken = Vec::new();
        for _ in 0..9 {
            taken.push(flow(&mut low_water, &mut now) * CHUNK / FLOWED_TO_RAISE);
            now += LOW_WATER_PATIENCE;
            assert!(low_water.on_time(now));
        }
        assert_eq!(taken, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn what_trickles_never_gathers() {
        let (mut low_water, mut now) = (LowWater::new(), start());
        for _ in 0..1_000 {
            now += LOW_WATER_PATIENCE + Duration::from_millis(1);
            assert!(!low_water.on_moved(CHUNK, now));
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any time will do, and none can be made"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
