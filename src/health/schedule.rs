//! When each server is checked.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The turns of all servers. Each server keeps its place within its interval, so that checks never come in bursts.
#[derive(Debug)]
pub(super) struct Schedule {
    turns: Vec<Turn>,
    /// Turns to come, the earliest first; a server whose check is under way has none.
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    dice: Dice,
}

/// How often a server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) interval: Duration,
    /// How late a turn may be, at random.
    pub(super) jitter: Duration,
    /// Whether its first check is made at once.
    pub(super) is_urgent: bool,
}

#[derive(Debug)]
struct Turn {
    pace: Pace,
    /// Its place: the time of the next turn, without jitter.
    due: Instant,
}

impl Schedule {
    /// Servers of these paces: the first checks are spread over an interval, in the order of the servers.
    pub(super) fn new(paces: impl ExactSizeIterator<Item = Pace>, now: Instant) -> Self {
        let count = paces.len().max(1) as f64;
        let turns: Vec<_> = paces
            .enumerate()
            .map(|(server, pace)| Turn {
                due: now + pace.interval.mul_f64(server as f64 / count),
                pace,
            })
            .collect();
        let mut schedule = Self {
            turns,
            waiting: BinaryHeap::new(),
            dice: Dice::new(),
        };
        for server in 0..schedule.turns.len() {
            schedule.push_first(server, now);
        }
        schedule
    }

    /// As [`Schedule::new`], for other servers: one that has a place in `before` keeps its turns, and waits for the end of its
    /// check if that `is_under_way` there.
    pub(super) fn resume(
        paces: impl ExactSizeIterator<Item = Pace>,
        before: &Self,
        place_before: impl Fn(usize) -> Option<usize>,
        is_under_way: impl Fn(usize) -> bool,
        now: Instant,
    ) -> Self {
        let mut schedule = Self::new(paces, now);
        schedule.waiting.clear();
        let mut waited = vec![None; before.turns.len()];
        for Reverse((at, server)) in &before.waiting {
            waited[*server] = Some(*at);
        }
        for server in 0..schedule.turns.len() {
            let Some(place) = place_before(server) else {
                schedule.push_first(server, now);
                continue;
            };
            let due = before.turns[place].due;
            schedule.turns[server].due = due;
            if !is_under_way(server) {
                let at = waited[place].unwrap_or(due);
                schedule.waiting.push(Reverse((at, server)));
            }
        }
        schedule
    }

    fn push_first(&mut self, server: usize, now: Instant) {
        let Turn { pace, due } = &self.turns[server];
        let at = if pace.is_urgent { now } else { *due };
        self.waiting.push(Reverse((at, server)));
    }

    /// When the next turn is, if any server waits for one.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, _))| *due)
    }

    /// The server that is overdue the longest, if one is due. It has no other turn until its check is over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        self.next_due().filter(|&due| due <= now)?;
        self.waiting.pop().map(|Reverse((_, server))| server)
    }

    /// The check of a server is over. Turns that it took up are left out. With `soon`, another one follows after that time if
    /// that is before the next turn.
    pub(super) fn on_over(&mut self, server: usize, soon: Option<Duration>, now: Instant) {
        let turn = &mut self.turns[server];
        if turn.due <= now {
            let late = now.saturating_duration_since(turn.due);
            let passed = late.as_nanos() / turn.pace.interval.as_nanos();
            turn.due += turn.pace.interval * u32::try_from(passed + 1).unwrap_or(u32::MAX);
        }
        let at = turn.due + turn.pace.jitter.mul_f64(self.dice.throw());
        let at = soon.map_or(at, |soon| at.min(now + soon));
        self.waiting.push(Reverse((at, server)));
    }
}

/// Random numbers for spreading, by xorshift.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    /// From 0 to 1.
    fn throw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn every(count: u64) -> Pace {
        Pace {
            interval: ms(count),
            jitter: Duration::ZERO,
            is_urgent: false,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_thousand_servers_are_never_due_at_once() {
        let origin = origin();
        let mut schedule = Schedule::new(vec![every(2000); 1000].into_iter(), origin);
        let mut checks = vec![0; 1000];
        // Two a step, and a check takes 15 ms.
        let mut under_way = Vec::new();
        for step in 0..2500 {
            let now = origin + ms(4 * step + 3);
            under_way.retain(|&(server, until)| {
                let over = until <= now;
                if over {
                    schedule.on_over(server, None, now);
                }
                !over
            });
            let due: Vec<_> = std::iter::from_fn(|| schedule.pop_due(now)).collect();
            assert!(due.len() <= 2, "{due:?} at once");
            for server in due {
                checks[server] += 1;
                under_way.push((server, now + ms(15)));
            }
        }
        // Ten seconds.
        assert!(checks.iter().all(|&count| count == 5), "{checks:?}");
    }

    #[test]
    fn a_long_check_costs_turns_and_keeps_the_place() {
        let origin = origin();
        let mut schedule = Schedule::new([every(100), every(100)].into_iter(), origin);
        assert_eq!(schedule.pop_due(origin), Some(0));
        assert_eq!(schedule.next_due(), Some(origin + ms(50)));
        assert_eq!(schedule.pop_due(origin + ms(49)), None);
        schedule.on_over(0, None, origin + ms(370));
        assert_eq!(schedule.pop_due(origin + ms(370)), Some(1));
        assert_eq!(schedule.next_due(), Some(origin + ms(400)));
        // Over at the very moment of a turn: the next one counts.
        schedule.on_over(1, None, origin + ms(450));
        assert_eq!(schedule.pop_due(origin + ms(400)), Some(0));
        assert_eq!(schedule.next_due(), Some(origin + ms(550)));
    }

    #[test]
    fn who_stays_keeps_its_place_however_often_others_change() {
        let origin = origin();
        let mut schedule = Schedule::new([every(1000); 2].into_iter(), origin);
        assert_eq!(schedule.pop_due(origin), Some(0));
        for change in 1..=10 {
            let now = origin + ms(10 * change);
            // The second one stays, now before another that is new each time; the first one is gone.
            let before = |place: usize| (place == 0).then_some(if change == 1 { 1 } else { 0 });
            let intervals = [every(1000); 2].into_iter();
            schedule = Schedule::resume(intervals, &schedule, before, |_| false, now);
        }
        assert_eq!(schedule.next_due(), Some(origin + ms(500)));
        assert_eq!(schedule.pop_due(origin + ms(500)), Some(0));
        // While its check is under way it has no other turn.
        let intervals = [every(1000)].into_iter();
        let now = origin + ms(510);
        let mut schedule = Schedule::resume(intervals, &schedule, Some, |_| true, now);
        assert_eq!(schedule.next_due(), None);
        schedule.on_over(0, None, now);
        assert_eq!(schedule.next_due(), Some(origin + ms(1500)));
    }

    #[test]
    fn who_is_overdue_the_longest_comes_first() {
        let origin = origin();
        let mut schedule = Schedule::new([every(1000), every(900), every(300)].into_iter(), origin);
        // Due at 0, 300 and 200 ms.
        let late = origin + ms(5000);
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop_due(late)).collect();
        assert_eq!(order, [0, 2, 1]);
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn who_is_in_doubt_is_checked_sooner_and_keeps_its_place() {
        let origin = origin();
        let mut schedule = Schedule::new([every(1000)].into_iter(), origin);
        assert_eq!(schedule.pop_due(origin), Some(0));
        schedule.on_over(0, Some(ms(100)), origin + ms(5));
        assert_eq!(schedule.next_due(), Some(origin + ms(105)));
        assert_eq!(schedule.pop_due(origin + ms(105)), Some(0));
        schedule.on_over(0, None, origin + ms(110));
        assert_eq!(schedule.next_due(), Some(origin + ms(1000)));
        // A turn that comes sooner is not put off.
        assert_eq!(schedule.pop_due(origin + ms(1000)), Some(0));
        schedule.on_over(0, Some(ms(100)), origin + ms(1950));
        assert_eq!(schedule.next_due(), Some(origin + ms(2000)));
        // Over a change, too.
        let schedule = Schedule::resume(
            [every(1000)].into_iter(),
            &schedule,
            Some,
            |_| false,
            origin + ms(1960),
        );
        assert_eq!(schedule.next_due(), Some(origin + ms(2000)));
    }

    #[test]
    fn jitter_makes_turns_late_and_never_drift() {
        let origin = origin();
        let jittered = Pace {
            jitter: ms(500),
            ..every(1000)
        };
        let mut schedule = Schedule::new([jittered].into_iter(), origin);
        let mut offsets = Vec::new();
        for turn in 1..=100 {
            let due = schedule.next_due().expect("it waits");
            assert_eq!(schedule.pop_due(due), Some(0));
            schedule.on_over(0, None, due);
            let next = schedule.next_due().expect("it waits");
            let place = origin + ms(1000 * turn);
            assert!(next >= place && next <= place + ms(500));
            offsets.push(next - place);
        }
        offsets.sort();
        assert!(
            offsets[10] < ms(200) && offsets[90] > ms(300),
            "{offsets:?}"
        );
    }

    #[test]
    fn who_is_urgent_is_checked_at_once() {
        let origin = origin();
        let urgent = Pace {
            is_urgent: true,
            ..every(900)
        };
        let mut schedule = Schedule::new([every(900), urgent, urgent].into_iter(), origin);
        let now: Vec<_> = std::iter::from_fn(|| schedule.pop_due(origin)).collect();
        assert_eq!(now.len(), 3);
        schedule.on_over(2, None, origin);
        assert_eq!(schedule.next_due(), Some(origin + ms(600)), "its place");
    }
}
