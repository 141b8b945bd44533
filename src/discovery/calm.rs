//! How often a source may change what is in force.

use std::time::{Duration, Instant};

/// How long a source is left alone after a change. Each change is a table that all workers take up.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest time: a source that never comes to rest is followed that late.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long after such a pause a source must not have changed, so that the next change is again the first.
const QUIET: Duration = Duration::from_secs(10);

/// What is known of a source's changes.
#[derive(Debug, Default)]
pub(super) struct Calm {
    last: Option<(Instant, Duration)>,
}

impl Calm {
    /// It has changed. Returns how long it is not to be asked: twice as long each time, where changes follow each other closely.
    pub(super) fn on_change(&mut self, now: Instant) -> Duration {
        let pause = match self.last {
            Some((at, pause)) if now < at + pause + QUIET => PAUSE_MAX.min(2 * pause),
            _ => PAUSE_MIN,
        };
        self.last = Some((now, pause));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_flaps_is_asked_ever_more_seldom_until_it_is_quiet() {
        let mut calm = Calm::default();
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = calm.on_change(now);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
        assert_eq!(calm.on_change(now + QUIET), PAUSE_MIN);
    }
}
