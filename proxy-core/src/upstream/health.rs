//! Whether a server is up, by its health checks.

use std::num::NonZeroU32;

/// What the checks of one server have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    rise: NonZeroU32,
    fall: NonZeroU32,
    up: bool,
    /// Checks in a row that contradict `up`; less than what it takes to change it.
    against: u32,
}

impl Health {
    /// A server that goes down after `fall` failed checks in a row, and up again after `rise` that passed. It begins as
    /// up: until checks have failed, nothing speaks against it.
    pub fn new(rise: NonZeroU32, fall: NonZeroU32) -> Self {
        Self::resume(rise, fall, true)
    }

    /// The same for a server of which it is known whether it is up.
    pub fn resume(rise: NonZeroU32, fall: NonZeroU32, up: bool) -> Self {
        Self {
            rise,
            fall,
            up,
            against: 0,
        }
    }

    /// Takes the result of one more check. Returns whether it changed the verdict.
    pub fn on_check(&mut self, passed: bool) -> bool {
        if passed == self.up {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if self.up { self.fall } else { self.rise };
        if self.against < needed.get() {
            return false;
        }
        self.up = passed;
        self.against = 0;
        true
    }

    /// Takes a result that decides by itself. Returns whether it changed the verdict.
    pub fn settle(&mut self, passed: bool) -> bool {
        self.against = 0;
        std::mem::replace(&mut self.up, passed) != passed
    }

    /// Whether the last check said something else than the verdict.
    pub fn is_in_doubt(&self) -> bool {
        self.against > 0
    }

    /// The verdict.
    pub fn is_up(&self) -> bool {
        self.up
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn health(rise: u32, fall: u32) -> Health {
        let count = |count| NonZeroU32::new(count).expect("at least one");
        Health::new(count(rise), count(fall))
    }

    /// What a server is after each of these results, "+" for one that passed.
    fn after(health: &mut Health, results: &str) -> String {
        let verdict = |result| {
            health.on_check(result == '+');
            if health.is_up() { 'u' } else { 'd' }
        };
        results.chars().map(verdict).collect()
    }

    #[test]
    fn it_falls_and_rises_by_results_in_a_row() {
        assert_eq!(after(&mut health(2, 3), "+---++"), "uuuddu");
        // One that passes between them makes the count begin again, and the other way round.
        assert_eq!(after(&mut health(2, 3), "--+---+-++"), "uuuuuddddu");
    }

    #[test]
    fn the_first_check_counts() {
        assert_eq!(after(&mut health(1, 1), "-+-"), "dud");
        assert_eq!(after(&mut health(5, 2), "--"), "ud");
    }

    #[test]
    fn a_result_that_decides_needs_no_other() {
        let mut health = health(3, 3);
        assert!(health.settle(false));
        assert!(!health.is_up() && !health.is_in_doubt());
        assert!(!health.on_check(true));
        assert!(health.is_in_doubt());
        assert!(!health.settle(false));
        assert!(!health.is_in_doubt());
    }

    #[test]
    fn a_change_is_told_once() {
        let mut health = health(2, 2);
        let changes = [false, false, false, true, true, true].map(|passed| health.on_check(passed));
        assert_eq!(changes, [false, true, false, false, true, false]);
    }

    /// The verdict as one would say it: the last run of equal results that was long enough decides.
    fn naive(results: &[bool], rise: usize, fall: usize) -> bool {
        let mut runs = results.chunk_by(|one, other| one == other);
        let decisive = |run: &&[bool]| run.len() >= if run[0] { rise } else { fall };
        runs.rfind(decisive).is_none_or(|run| run[0])
    }

    proptest! {
        #[test]
        fn it_is_what_the_last_long_run_says(
            rise in 1_u32..6,
            fall in 1_u32..6,
            results in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut health = health(rise, fall);
            for (index, &passed) in results.iter().enumerate() {
                let before = health.is_up();
                let changed = health.on_check(passed);
                let wanted = naive(&results[..=index], rise as usize, fall as usize);
                prop_assert_eq!(health.is_up(), wanted, "after {:?}", &results[..=index]);
                prop_assert_eq!(changed, before != wanted);
            }
        }
    }
}
