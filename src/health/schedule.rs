//! When each server is checked.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// The turns of all servers. Each server keeps its place within its interval, so that checks never come in bursts.
#[derive(Debug)]
pub(super) struct Schedule {
    turns: Vec<Turn>,
    /// Turns to come, the earliest first; a server whose check is under way has none.
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
}

#[derive(Debug)]
struct Turn {
    interval: Duration,
    due: Instant,
}

impl Schedule {
    /// Servers of these intervals: the first checks are spread over an interval, in the order of the servers.
    pub(super) fn new(intervals: impl ExactSizeIterator<Item = Duration>, now: Instant) -> Self {
        let count = intervals.len().max(1) as f64;
        let turns: Vec<_> = intervals
            .enumerate()
            .map(|(server, interval)| Turn {
                interval,
                due: now + interval.mul_f64(server as f64 / count),
            })
            .collect();
        let waiting = turns.iter().enumerate();
        Self {
            waiting: waiting
                .map(|(server, turn)| Reverse((turn.due, server)))
                .collect(),
            turns,
        }
    }

    /// As [`Schedule::new`], for other servers: one that has a place in `before` keeps its turns, and waits for the end of its
    /// check if that `is_under_way` there.
    pub(super) fn resume(
        intervals: impl ExactSizeIterator<Item = Duration>,
        before: &Self,
        place_before: impl Fn(usize) -> Option<usize>,
        is_under_way: impl Fn(usize) -> bool,
        now: Instant,
    ) -> Self {
        let mut schedule = Self::new(intervals, now);
        schedule.waiting.clear();
        for (server, turn) in schedule.turns.iter_mut().enumerate() {
            let before_it = place_before(server);
            if let Some(place) = before_it {
                turn.due = before.turns[place].due;
            }
            if !before_it.is_some_and(&is_under_way) {
                schedule.waiting.push(Reverse((turn.due, server)));
            }
        }
        schedule
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

    /// The check of a server is over. Turns that it took up are left out.
    pub(super) fn on_over(&mut self, server: usize, now: Instant) {
        let turn = &mut self.turns[server];
        let late = now.saturating_duration_since(turn.due);
        let passed = late.as_nanos() / turn.interval.as_nanos();
        turn.due += turn.interval * u32::try_from(passed + 1).unwrap_or(u32::MAX);
        self.waiting.push(Reverse((turn.due, server)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_thousand_servers_are_never_due_at_once() {
        let origin = origin();
        let mut schedule = Schedule::new(vec![ms(2000); 1000].into_iter(), origin);
        let mut checks = vec![0; 1000];
        // Two a step, and a check takes 15 ms.
        let mut under_way = Vec::new();
        for step in 0..2500 {
            let now = origin + ms(4 * step + 3);
            under_way.retain(|&(server, until)| {
                let over = until <= now;
                if over {
                    schedule.on_over(server, now);
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
        let mut schedule = Schedule::new([ms(100), ms(100)].into_iter(), origin);
        assert_eq!(schedule.pop_due(origin), Some(0));
        assert_eq!(schedule.next_due(), Some(origin + ms(50)));
        assert_eq!(schedule.pop_due(origin + ms(49)), None);
        schedule.on_over(0, origin + ms(370));
        assert_eq!(schedule.pop_due(origin + ms(370)), Some(1));
        assert_eq!(schedule.next_due(), Some(origin + ms(400)));
        // Over at the very moment of a turn: the next one counts.
        schedule.on_over(1, origin + ms(450));
        assert_eq!(schedule.pop_due(origin + ms(400)), Some(0));
        assert_eq!(schedule.next_due(), Some(origin + ms(550)));
    }

    #[test]
    fn who_stays_keeps_its_place_however_often_others_change() {
        let origin = origin();
        let mut schedule = Schedule::new([ms(1000); 2].into_iter(), origin);
        assert_eq!(schedule.pop_due(origin), Some(0));
        for change in 1..=10 {
            let now = origin + ms(10 * change);
            // The second one stays, now before another that is new each time; the first one is gone.
            let before = |place: usize| (place == 0).then_some(if change == 1 { 1 } else { 0 });
            let intervals = [ms(1000); 2].into_iter();
            schedule = Schedule::resume(intervals, &schedule, before, |_| false, now);
        }
        assert_eq!(schedule.next_due(), Some(origin + ms(500)));
        assert_eq!(schedule.pop_due(origin + ms(500)), Some(0));
        // While its check is under way it has no other turn.
        let intervals = [ms(1000)].into_iter();
        let now = origin + ms(510);
        let mut schedule = Schedule::resume(intervals, &schedule, Some, |_| true, now);
        assert_eq!(schedule.next_due(), None);
        schedule.on_over(0, now);
        assert_eq!(schedule.next_due(), Some(origin + ms(1500)));
    }

    #[test]
    fn who_is_overdue_the_longest_comes_first() {
        let origin = origin();
        let mut schedule = Schedule::new([ms(1000), ms(900), ms(300)].into_iter(), origin);
        // Due at 0, 300 and 200 ms.
        let late = origin + ms(5000);
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop_due(late)).collect();
        assert_eq!(order, [0, 2, 1]);
        assert_eq!(schedule.next_due(), None);
    }
}
