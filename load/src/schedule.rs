//! When an open loop sends: at times that are settled before, whatever the proxy does.

use std::time::{Duration, Instant};

/// Evenly spaced messages, dealt to the connections in turn: message `n` belongs to connection `n` modulo their
/// number. So each connection has a fixed period of its own, and never do two send at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    /// Seconds between two messages.
    gap: f64,
    connections: u64,
    /// The first message whose time wasn't seen to come.
    next: u64,
}

impl Schedule {
    /// `rate` messages a second in all.
    pub(crate) fn new(start: Instant, rate: f64, connections: usize) -> Self {
        Self {
            start,
            gap: 1.0 / rate,
            connections: connections as u64,
            next: 0,
        }
    }

    /// When the next message is to be sent.
    pub(crate) fn due(&self) -> Instant {
        self.time(self.next)
    }

    /// The connection whose message has come due by `now`; again until there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Option<usize> {
        (self.due() <= now).then(|| {
            let connection = self.next % self.connections;
            self.next += 1;
            connection as usize
        })
    }

    /// When connection `index` was to send its message `round`, if that was taken already.
    pub(crate) fn intended(&self, index: usize, round: u64) -> Option<Instant> {
        let message = round * self.connections + index as u64;
        (message < self.next).then(|| self.time(message))
    }

    fn time(&self, message: u64) -> Instant {
        self.start + Duration::from_secs_f64(message as f64 * self.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_evenly_spaced_and_dealt_in_turn() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(start, 100.0, 3);
        let mut taken = Vec::new();
        while let Some(connection) = schedule.take(at(45)) {
            taken.push(connection);
        }
        assert_eq!(taken, [0, 1, 2, 0, 1]);
        assert_eq!(schedule.due(), at(50));
        assert_eq!(schedule.take(at(49)), None);
        assert_eq!(schedule.take(at(50)), Some(2));
    }

    #[test]
    fn a_message_that_waits_in_line_keeps_its_intended_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(start, 100.0, 2);
        while schedule.take(at(35)).is_some() {}
        // Messages at 0, 10, 20, 30 ms; connection 1 has those at 10 and 30.
        assert_eq!(schedule.intended(1, 0), Some(at(10)));
        assert_eq!(schedule.intended(1, 1), Some(at(30)));
        assert_eq!(schedule.intended(0, 2), None);
    }
}
