//! How much of its weight a server has that came a moment ago.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::epoch::Epoch;

/// The whole weight: parts are counted in 256ths.
pub(crate) const WHOLE: u32 = 256;

/// Since when a server serves, as long as that matters. All workers share it; it is written when the server comes, when it
/// has its whole weight, and for its turns in between.
#[derive(Debug, Default)]
pub(crate) struct Warmth {
    /// The first time that it was looked at after it came.
    epoch: Epoch,
    /// [`WARM`], [`JUST_CAME`], or nanoseconds from the epoch and [`FROM_EPOCH`].
    since: AtomicU64,
    /// What is left of turns that it had a part of.
    credit: AtomicU32,
}

const WARM: u64 = 0;
const JUST_CAME: u64 = 1;
const FROM_EPOCH: u64 = 2;

impl Warmth {
    /// The server came, or came back: its time begins with the next look.
    pub(crate) fn on_come(&self) {
        self.since.store(JUST_CAME, Relaxed);
    }

    /// It has its whole weight, as there is no slow start.
    pub(crate) fn skip(&self) {
        // A write only on change keeps the cache line shared.
        if self.since.load(Relaxed) != WARM {
            self.since.store(WARM, Relaxed);
        }
    }

    /// Its part of the weight, from one 256th to [`WHOLE`], which grows over `slow_start`.
    pub(crate) fn part(&self, slow_start: Option<Duration>, now: Instant) -> u32 {
        let since = self.since.load(Relaxed);
        let Some(slow_start) = slow_start else {
            return WHOLE;
        };
        if since == WARM {
            return WHOLE;
        }
        if since == JUST_CAME {
            let began = self.epoch.note(now) + FROM_EPOCH;
            // Another worker may have looked, too: the moments are as good as the same.
            let _ = self.since.compare_exchange(since, began, Relaxed, Relaxed);
            return 1;
        }
        let passed = (self.epoch.until(now) + FROM_EPOCH).saturating_sub(since);
        let passed = Duration::from_nanos(passed);
        if passed >= slow_start {
            let _ = self.since.compare_exchange(since, WARM, Relaxed, Relaxed);
            return WHOLE;
        }
        let parts = passed.as_nanos() * u128::from(WHOLE) / slow_start.as_nanos();
        (parts as u32).max(1)
    }

    /// The same for who only looks: its time doesn't begin with that.
    pub(crate) fn look(&self, slow_start: Option<Duration>, now: Instant) -> u32 {
        match self.since.load(Relaxed) {
            JUST_CAME if slow_start.is_some() => 1,
            _ => self.part(slow_start, now),
        }
    }

    /// Since when it serves, as far as that matters; none: it is warm. One whose time has not begun has come now.
    pub(crate) fn since(&self, now: Instant) -> Option<Instant> {
        match self.since.load(Relaxed) {
            WARM => None,
            JUST_CAME => Some(now),
            since => self.epoch.moment(since - FROM_EPOCH),
        }
    }

    /// It serves since then.
    pub(crate) fn begin(&self, since: Instant) {
        let since = self.epoch.note(since) + FROM_EPOCH;
        self.since.store(since, Relaxed);
    }

    /// Whether it takes its turn: so many of 256 of them, evenly.
    pub(crate) fn takes_turn(&self, part: u32) -> bool {
        // 2^32 is a multiple of the whole, so nothing is lost where it wraps.
        part >= WHOLE || self.credit.fetch_add(part, Relaxed) % WHOLE + part >= WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::origin;

    #[test]
    fn it_grows_from_a_256th_to_the_whole_over_its_time() {
        let (warmth, now) = (Warmth::default(), origin());
        let time = Duration::from_secs(256);
        let part = |seconds| warmth.part(Some(time), now + Duration::from_secs(seconds));
        assert_eq!(part(0), WHOLE, "it was there from the beginning");
        warmth.on_come();
        assert_eq!(warmth.look(Some(time), now), 1, "and not yet");
        assert_eq!(warmth.look(None, now), WHOLE);
        assert_eq!(part(10), 1, "time begins when it is looked at");
        assert_eq!((part(10), part(11), part(74)), (1, 1, 64));
        assert_eq!((part(265), part(266), part(267)), (255, WHOLE, WHOLE));
        assert_eq!(part(11), WHOLE, "once it is warm it stays so");
        warmth.on_come();
        assert_eq!((part(300), part(428)), (1, 128));
        assert_eq!(part(300), 1, "a clock that is behind does no harm");
        warmth.skip();
        assert_eq!(part(300), WHOLE);
    }

    #[test]
    fn turns_are_taken_evenly() {
        for part in [1, 3, 64, 100, 255, 256] {
            let warmth = Warmth::default();
            let taken: Vec<_> = (0..1024).map(|_| warmth.takes_turn(part)).collect();
            let count = |taken: &[bool]| taken.iter().filter(|&&taken| taken).count();
            assert_eq!(count(&taken), 4 * part as usize);
            let half = count(&taken[..512]);
            assert_eq!(half, 2 * part as usize);
        }
    }
}
