//! Gives advice once it has held for long enough.

use std::collections::VecDeque;
use std::time::Duration;

use proxy_core::backend::{Evening, Stealing};

use super::id::{Advice, Id};
use super::judgement::{Figures, findings};

/// How long something must hold before it is said, and how long it must not before it is no longer said.
const HOLD: Duration = Duration::from_secs(60);

/// Looks between which waits and moves are counted: about ten seconds, as utilization is.
const LOOKS_MAX: usize = 11;

/// Counts that only grow, at one look.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// When, since any fixed moment.
    pub(crate) at: Duration,
    /// How long each worker has waited for its CPU; none: it can't be read.
    pub(crate) waited: Vec<Option<Duration>>,
    /// Live connections that have moved between cores.
    pub(crate) moves: u64,
    /// Connections of each core now.
    pub(crate) connections: Vec<u64>,
}

/// Remembers since when things hold.
#[derive(Debug)]
pub(crate) struct Adviser {
    evening: Evening,
    stealing: Stealing,
    has_spare_cpus: bool,
    looks: VecDeque<Snapshot>,
    tracks: [Track; Id::ALL.len()],
}

#[derive(Clone, Debug, Default)]
struct Track {
    /// Since when it holds, and when it last did.
    held: Option<(Duration, Duration)>,
    given: bool,
    /// What was found when it last held.
    why: String,
}

impl Adviser {
    /// Has nothing to say yet. It matters whether there are CPUs that no worker has.
    pub(crate) fn new(evening: Evening, stealing: Stealing, has_spare_cpus: bool) -> Self {
        Self {
            evening,
            stealing,
            has_spare_cpus,
            looks: VecDeque::with_capacity(LOOKS_MAX),
            tracks: Default::default(),
        }
    }

    /// Takes one more look, with the cores' utilization over ten seconds.
    pub(crate) fn on_sample(&mut self, look: Snapshot, utilization: Vec<f64>) {
        let at = look.at;
        if self.looks.len() == LOOKS_MAX {
            self.looks.pop_front();
        }
        let first = self.looks.front().unwrap_or(&look);
        let figures = Figures {
            utilization,
            waiting: waiting(first, &look),
            connections: look.connections.clone(),
            moves: look.moves.saturating_sub(first.moves),
        };
        self.looks.push_back(look);
        self.on_findings(at, findings(self.evening, &figures));
    }

    /// Nothing ran between the last look and this moment.
    pub(crate) fn on_rest(&mut self, at: Duration) {
        self.looks.clear();
        self.on_findings(at, Vec::new());
    }

    /// The advice to log now; at most one line a name.
    pub(crate) fn advice(&self) -> Vec<Advice> {
        let given = Id::ALL
            .into_iter()
            .zip(&self.tracks)
            .filter(|(_, track)| track.given);
        given.map(|(id, track)| self.told(id, track)).collect()
    }

    fn told(&self, id: Id, track: &Track) -> Advice {
        track.advice(
            id,
            id.remedy(self.evening, self.stealing, self.has_spare_cpus),
        )
    }

    fn on_findings(&mut self, at: Duration, mut found: Vec<(Id, String)>) {
        let (evening, stealing, spare) = (self.evening, self.stealing, self.has_spare_cpus);
        let remedy = |id: Id| id.remedy(evening, stealing, spare);
        for (id, track) in Id::ALL.into_iter().zip(&mut self.tracks) {
            let found = found.iter_mut().find(|(other, _)| *other == id);
            let was_given = track.given;
            track.on_sample(at, found.map(|(_, why)| std::mem::take(why)));
            if track.given && !was_given {
                let text = track.advice(id, remedy(id)).text;
                tracing::info!(advice = id.name(self.stealing), "{text}");
            }
        }
    }
}

impl Track {
    fn on_sample(&mut self, at: Duration, why: Option<String>) {
        match (why, self.held) {
            (Some(why), held) => {
                let since = held.map_or(at, |(since, _)| since);
                self.held = Some((since, at));
                self.given |= at.saturating_sub(since) >= HOLD;
                self.why = why;
            }
            // What was said is not taken back for a lull.
            (None, Some((_, last))) if self.given && at.saturating_sub(last) < HOLD => {}
            (None, _) => *self = Self::default(),
        }
    }

    fn advice(&self, id: Id, remedy: String) -> Advice {
        let (since, last) = self.held.unwrap_or_default();
        let minutes = last.saturating_sub(since).as_secs() / 60;
        Advice {
            id,
            text: format!("{}, for {minutes} min: {}", self.why, remedy),
        }
    }
}

/// Part of the time between two looks that each worker waited.
fn waiting(first: &Snapshot, last: &Snapshot) -> Vec<f64> {
    let wall = last.at.saturating_sub(first.at).as_secs_f64();
    let pairs = first.waited.iter().zip(&last.waited);
    pairs
        .map(|(first, last)| match (first, last) {
            (Some(first), Some(last)) if wall > 0.0 => {
                last.saturating_sub(*first).as_secs_f64() / wall
            }
            _ => 0.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::STEALING;

    /// Looks once a second.
    struct Script {
        adviser: Adviser,
        second: u64,
    }

    impl Script {
        fn new(evening: Evening) -> Self {
            Self {
                adviser: Adviser::new(evening, STEALING, true),
                second: 0,
            }
        }

        /// The workers wait for a CPU `wait` milliseconds a second.
        fn run(&mut self, seconds: u64, utilization: &[f64], wait: u64) -> Vec<Id> {
            for _ in 0..seconds {
                let last = self.adviser.looks.back();
                let waited = last.and_then(|last| last.waited[0]).unwrap_or_default();
                self.second += 1;
                let look = Snapshot {
                    at: Duration::from_secs(self.second),
                    waited: vec![Some(waited + Duration::from_millis(wait)), None],
                    moves: 0,
                    connections: vec![9, 9],
                };
                self.adviser.on_sample(look, utilization.to_vec());
            }
            self.given()
        }

        fn rest(&mut self, seconds: u64) -> Vec<Id> {
            self.second += seconds;
            self.adviser.on_rest(Duration::from_secs(self.second));
            self.given()
        }

        fn given(&self) -> Vec<Id> {
            let advice = self.adviser.advice();
            advice.into_iter().map(|advice| advice.id).collect()
        }
    }

    const OFF: Evening = Evening::CouldMove("set enabled = true");
    const UNEVEN: &[f64] = &[0.9, 0.1];
    const EVEN: &[f64] = &[0.5, 0.5];

    #[test]
    fn advice_is_given_after_a_minute_and_taken_back_after_another() {
        let mut script = Script::new(OFF);
        assert_eq!(script.run(60, UNEVEN, 0), []);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::EnableRebalance]);
        // A lull, and it goes on.
        assert_eq!(script.run(59, EVEN, 0), [Id::EnableRebalance]);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::EnableRebalance]);
        assert_eq!(script.run(59, EVEN, 0), [Id::EnableRebalance]);
        assert_eq!(script.run(1, EVEN, 0), []);
        // The minute begins again.
        assert_eq!(script.run(60, UNEVEN, 0), []);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::EnableRebalance]);
    }

    #[test]
    fn what_comes_and_goes_is_not_said() {
        let mut script = Script::new(Evening::Nothing);
        for _ in 0..20 {
            assert_eq!(script.run(50, UNEVEN, 0), []);
            assert_eq!(script.run(1, EVEN, 0), []);
        }
    }

    #[test]
    fn a_rest_is_a_time_in_which_nothing_holds() {
        let mut script = Script::new(Evening::Nothing);
        assert_eq!(script.run(50, UNEVEN, 0), []);
        script.rest(20);
        assert_eq!(script.run(60, UNEVEN, 0), []);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::UseStealing]);
        assert_eq!(script.rest(30), [Id::UseStealing]);
        assert_eq!(script.rest(30), []);
    }

    #[test]
    fn the_text_tells_why_since_when_and_what_to_do() {
        let mut script = Script::new(OFF);
        script.run(601, UNEVEN, 0);
        let [advice] = &script.adviser.advice()[..] else {
            panic!("one line");
        };
        let wanted = "imbalance 0.8, core 0 at 90 % and the mean at 50 %, for 10 min: set enabled = true, or \
                      use ";
        let wanted = format!("{wanted}{}, whose workers steal", STEALING.keys);
        assert_eq!(advice.text, wanted);
    }

    #[test]
    fn waits_are_those_of_the_last_ten_seconds() {
        let mut script = Script::new(Evening::Steals);
        assert_eq!(script.run(62, EVEN, 200), [Id::CpuStarved]);
        // Ten seconds of the wait are still in the window at first.
        assert_eq!(script.run(60, EVEN, 0), [Id::CpuStarved]);
        assert_eq!(script.run(10, EVEN, 0), []);
    }
}
