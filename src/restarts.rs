//! How often workers that die are replaced.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proxy_core::lifeline::Death;

/// Replacements within [`RESTARTS_WITHIN`]; at one more the process ends, so that whoever supervises it hears of it.
pub(crate) const RESTARTS_MAX: usize = 5;

/// See [`RESTARTS_MAX`].
pub(crate) const RESTARTS_WITHIN: Duration = Duration::from_secs(60);

/// Those of the last time.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Whether one more may be replaced; it is counted then.
    pub(crate) fn may(&mut self, now: Instant) -> bool {
        while let Some(&first) = self.0.front()
            && now.saturating_duration_since(first) >= RESTARTS_WITHIN
        {
            self.0.pop_front();
        }
        let may = self.0.len() < RESTARTS_MAX;
        if may {
            self.0.push_back(now);
        }
        may
    }
}

/// Why the process ends instead.
pub(crate) fn too_many(death: &Death) -> String {
    format!(
        "{death}; the process ends, as {RESTARTS_MAX} times within {RESTARTS_WITHIN:?} workers died and were replaced"
    )
}

/// The same where the worker can't be replaced.
pub(crate) fn cannot(death: &Death, error: &anyhow::Error) -> String {
    format!("{death}; the process ends, as nobody can take its place: {error:#}")
}

/// The same where another process takes over.
pub(crate) fn while_upgrading(death: &Death) -> String {
    format!("{death}; its connections were cut before they went to the new process")
}

/// The same at the end of a proxy.
pub(crate) fn while_draining(death: &Death) -> String {
    format!("{death}; its connections were cut before they ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn those_of_long_ago_are_forgotten() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        for second in 0..RESTARTS_MAX as u64 {
            assert!(restarts.may(now + Duration::from_secs(second)));
        }
        assert!(!restarts.may(now + RESTARTS_WITHIN - Duration::from_millis(1)));
        assert!(restarts.may(now + RESTARTS_WITHIN));
        assert!(!restarts.may(now + RESTARTS_WITHIN));
    }
}
