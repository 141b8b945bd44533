//! What an operator should know of the load: a few lines, each under a name that stays.
//!
//! What is said of one look is a pure function ([`findings`]); the [`Adviser`] only says what holds for a while.

use std::collections::VecDeque;
use std::time::Duration;

use super::family::Families;
use super::imbalance::Imbalance;
use crate::observed::Observed;

/// How long something must hold before it is said, and how long it must not before it is no longer said.
const HOLD: Duration = Duration::from_secs(60);

/// Looks between which waits and moves are counted: about ten seconds, as utilization is.
const LOOKS_MAX: usize = 11;

/// λ from which a load is uneven. Glommio's rebalancing leaves what is under 0.25.
const UNEVEN_MIN: f64 = 0.3;

/// Utilization of the busiest core under which unevenness costs nobody anything.
const HOT_MIN: f64 = 0.7;

/// Utilization over ten seconds from which a core has no time left.
const FULL_MIN: f64 = 0.9;

/// Part of the time that a worker waits for its CPU, from which that is worth a word.
const STARVED_MIN: f64 = 0.1;

/// The names of all advice; the label `advice` has these values and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    EnableRebalance,
    UseWorkStealing,
    LoneElephant,
    AddCores,
    CpuStarved,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) id: Id,
    /// Why and what, in one line.
    pub(crate) text: String,
}

/// The load at one look. One entry a core where it says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// Utilization over the last ten seconds, a core.
    pub(super) utilization: Vec<f64>,
    /// Part of the last ten seconds that the worker could have run and waited for its CPU, a core.
    pub(super) waiting: Vec<f64>,
    /// Connections, a core.
    pub(super) connections: Vec<u64>,
    /// Live connections that moved in the last ten seconds.
    pub(super) moves: u64,
}

/// What there is to even out the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evening {
    /// Glommio moves connections.
    Rebalance,
    /// Glommio could, and may not.
    RebalanceOff,
    /// Tokio's workers steal.
    Stealing,
    /// Tokio with one runtime a core: nothing.
    PerCore,
}

/// Counts that only grow, at one look.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// When, since any fixed moment.
    pub(super) at: Duration,
    /// How long each worker has waited for its CPU; none: it can't be read.
    pub(super) waited: Vec<Option<Duration>>,
    /// Live connections that have moved between cores.
    pub(super) moves: u64,
    /// Connections of each core now.
    pub(super) connections: Vec<u64>,
}

/// Remembers since when things hold.
#[derive(Debug)]
pub(super) struct Adviser {
    evening: Evening,
    looks: VecDeque<Look>,
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

impl Id {
    pub(crate) const ALL: [Self; 5] = [
        Self::EnableRebalance,
        Self::UseWorkStealing,
        Self::LoneElephant,
        Self::AddCores,
        Self::CpuStarved,
    ];

    /// The value of the label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EnableRebalance => "enable-rebalance",
            Self::UseWorkStealing => "use-work-stealing",
            Self::LoneElephant => "lone-elephant",
            Self::AddCores => "add-cores",
            Self::CpuStarved => "cpu-starved",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::EnableRebalance => {
                "set enabled = true in [runtime.glommio.rebalance], or use scheduler = \"tokio\", whose workers steal"
            }
            Self::UseWorkStealing => {
                "use scheduler = \"tokio\" with mode = \"work-stealing\"; `corelane compare FILE --record` tells what \
                 that costs"
            }
            Self::LoneElephant => {
                "one connection is more than a core, most likely, and no scheduler can part it; spread it over several \
                 connections, or leave it"
            }
            Self::AddCores => {
                "give it more CPUs in [runtime] cores, or put a second machine beside it"
            }
            Self::CpuStarved => {
                "others use its CPU: name CPUs in [runtime] cores that they leave alone, or raise the container's limit"
            }
        }
    }
}

impl Evening {
    pub(super) fn of(observed: &Observed) -> Self {
        match (observed.mode, observed.rebalances) {
            ("work-stealing", _) => Self::Stealing,
            ("per-core", _) => Self::PerCore,
            (_, true) => Self::Rebalance,
            (_, false) => Self::RebalanceOff,
        }
    }
}

/// What one look says, with the reason for each.
pub(super) fn findings(evening: Evening, figures: &Figures) -> Vec<(Id, String)> {
    let mut found = Vec::new();
    if let Some((core, &waiting)) = greatest(&figures.waiting)
        && waiting >= STARVED_MIN
    {
        let why = format!(
            "the worker of core {core} waits for its CPU {} of the time",
            percent(waiting)
        );
        found.push((Id::CpuStarved, why));
    }
    let Some((hottest, &max)) = greatest(&figures.utilization) else {
        return found;
    };
    let least = figures
        .utilization
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min);
    if least >= FULL_MIN {
        let cores = figures.utilization.len();
        let why = format!("all {cores} cores are over {}", percent(FULL_MIN));
        found.push((Id::AddCores, why));
    }
    let ratio = Imbalance::of(&figures.utilization).ratio;
    if ratio < UNEVEN_MIN || max < HOT_MIN {
        return found;
    }
    let alone = figures.connections.get(hottest) == Some(&1);
    let id = match evening {
        _ if alone => Id::LoneElephant,
        Evening::RebalanceOff => Id::EnableRebalance,
        Evening::PerCore => Id::UseWorkStealing,
        // What still moves is not evened out by moving: the loads change sooner than they can be measured.
        Evening::Rebalance if figures.moves > 0 => Id::UseWorkStealing,
        // Whatever could be moved, or stolen, was.
        Evening::Rebalance | Evening::Stealing => Id::LoneElephant,
    };
    // An elephant that has room left is in nobody's way.
    if id != Id::LoneElephant || max >= FULL_MIN {
        let why = format!(
            "imbalance {ratio:.1}, core {hottest} at {} and the mean at {}",
            percent(max),
            percent(max / (1.0 + ratio))
        );
        found.push((id, why));
    }
    found
}

impl Adviser {
    /// Has nothing to say yet.
    pub(super) fn new(evening: Evening) -> Self {
        Self {
            evening,
            looks: VecDeque::with_capacity(LOOKS_MAX),
            tracks: Default::default(),
        }
    }

    /// Takes one more look, with the cores' utilization over ten seconds.
    pub(super) fn on_look(&mut self, look: Look, utilization: Vec<f64>) {
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
    pub(super) fn on_rest(&mut self, at: Duration) {
        self.looks.clear();
        self.on_findings(at, Vec::new());
    }

    /// What is to be said now; at most one line a name.
    pub(super) fn advice(&self) -> Vec<Advice> {
        let given = Id::ALL
            .into_iter()
            .zip(&self.tracks)
            .filter(|(_, track)| track.given);
        given.map(|(id, track)| track.advice(id)).collect()
    }

    fn on_findings(&mut self, at: Duration, mut found: Vec<(Id, String)>) {
        for (id, track) in Id::ALL.into_iter().zip(&mut self.tracks) {
            let found = found.iter_mut().find(|(other, _)| *other == id);
            let was_given = track.given;
            track.on_look(at, found.map(|(_, why)| std::mem::take(why)));
            if track.given && !was_given {
                tracing::info!(advice = id.name(), "{}", track.advice(id).text);
            }
        }
    }
}

impl Track {
    fn on_look(&mut self, at: Duration, why: Option<String>) {
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

    fn advice(&self, id: Id) -> Advice {
        let (since, last) = self.held.unwrap_or_default();
        let minutes = last.saturating_sub(since).as_secs() / 60;
        Advice {
            id,
            text: format!("{}, for {minutes} min: {}", self.why, id.remedy()),
        }
    }
}

/// Adds what is said now.
pub(super) fn collect(families: &mut Families, advice: &[Advice]) {
    let mut family = families.gauge(
        "corelane_advice",
        "1 while the advice of this name is given, else 0; it has held for a minute then. docs/metrics.md tells what \
         each means.",
    );
    for id in Id::ALL {
        let given = advice.iter().any(|advice| advice.id == id);
        family.add_count(&[("advice", id.name())], u64::from(given));
    }
}

/// Part of the time between two looks that each worker waited.
fn waiting(first: &Look, last: &Look) -> Vec<f64> {
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

fn greatest(values: &[f64]) -> Option<(usize, &f64)> {
    values
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(utilization: &[f64], connections: &[u64]) -> Figures {
        Figures {
            utilization: utilization.to_vec(),
            connections: connections.to_vec(),
            ..Figures::default()
        }
    }

    fn ids(evening: Evening, figures: &Figures) -> Vec<Id> {
        let found = findings(evening, figures).into_iter();
        found.map(|(id, _)| id).collect()
    }

    #[test]
    fn each_load_has_its_advice() {
        use Evening::*;
        // (utilization, connections, moves) under each scheduler
        type Case<'a> = (&'a [f64], &'a [u64], u64, Evening, &'a [Id]);
        let table: &[Case<'_>] = &[
            (
                &[0.9, 0.1],
                &[9, 9],
                0,
                RebalanceOff,
                &[Id::EnableRebalance],
            ),
            (&[0.9, 0.1], &[9, 9], 0, PerCore, &[Id::UseWorkStealing]),
            (&[0.9, 0.1], &[9, 9], 0, Rebalance, &[Id::LoneElephant]),
            (&[0.9, 0.1], &[9, 9], 3, Rebalance, &[Id::UseWorkStealing]),
            // Migrations are how work stealing works.
            (&[0.9, 0.1], &[9, 9], 3, Stealing, &[Id::LoneElephant]),
            // One connection can't be moved anywhere better.
            (&[1.0, 0.1], &[1, 9], 0, RebalanceOff, &[Id::LoneElephant]),
            (&[1.0, 0.1], &[1, 9], 0, PerCore, &[Id::LoneElephant]),
            // An elephant with room left.
            (&[0.8, 0.1], &[1, 9], 0, PerCore, &[]),
            (&[0.8, 0.1], &[9, 9], 0, Stealing, &[]),
            // Even, idle, hardly uneven, one core.
            (&[0.8, 0.8], &[9, 9], 0, RebalanceOff, &[]),
            (&[0.3, 0.0], &[9, 9], 0, RebalanceOff, &[]),
            (&[0.85, 0.6], &[9, 9], 0, RebalanceOff, &[]),
            (&[0.8], &[9], 0, PerCore, &[]),
            (&[], &[], 0, PerCore, &[]),
            (&[0.97, 0.95], &[9, 9], 0, Rebalance, &[Id::AddCores]),
            (&[0.97], &[9], 0, Stealing, &[Id::AddCores]),
        ];
        for &(utilization, connections, moves, evening, wanted) in table {
            let figures = Figures {
                moves,
                ..figures(utilization, connections)
            };
            assert_eq!(ids(evening, &figures), wanted, "{evening:?} {figures:?}");
        }
    }

    #[test]
    fn a_worker_that_waits_is_starved() {
        let mut figures = figures(&[0.5, 0.5], &[1, 1]);
        figures.waiting = vec![0.02, 0.25];
        let found = findings(Evening::Stealing, &figures);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Id::CpuStarved);
        assert!(
            found[0].1.contains("core 1 waits for its CPU 25 %"),
            "{}",
            found[0].1
        );
        figures.waiting = vec![0.02, 0.09];
        assert_eq!(ids(Evening::Stealing, &figures), []);
    }

    /// Looks once a second.
    struct Script {
        adviser: Adviser,
        second: u64,
    }

    impl Script {
        fn new(evening: Evening) -> Self {
            Self {
                adviser: Adviser::new(evening),
                second: 0,
            }
        }

        /// The workers wait for a CPU `wait` milliseconds a second.
        fn run(&mut self, seconds: u64, utilization: &[f64], wait: u64) -> Vec<Id> {
            for _ in 0..seconds {
                let last = self.adviser.looks.back();
                let waited = last.and_then(|last| last.waited[0]).unwrap_or_default();
                self.second += 1;
                let look = Look {
                    at: Duration::from_secs(self.second),
                    waited: vec![Some(waited + Duration::from_millis(wait)), None],
                    moves: 0,
                    connections: vec![9, 9],
                };
                self.adviser.on_look(look, utilization.to_vec());
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

    const UNEVEN: &[f64] = &[0.9, 0.1];
    const EVEN: &[f64] = &[0.5, 0.5];

    #[test]
    fn advice_is_given_after_a_minute_and_taken_back_after_another() {
        let mut script = Script::new(Evening::RebalanceOff);
        assert_eq!(script.run(60, UNEVEN, 0), []);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::EnableRebalance]);
        // A lull, and it goes on.
        assert_eq!(script.run(59, EVEN, 0), [Id::EnableRebalance]);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::EnableRebalance]);
        assert_eq!(script.run(59, EVEN, 0), [Id::EnableRebalance]);
        assert_eq!(script.run(1, EVEN, 0), []);
        // The minute begins anew.
        assert_eq!(script.run(60, UNEVEN, 0), []);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::EnableRebalance]);
    }

    #[test]
    fn what_comes_and_goes_is_not_said() {
        let mut script = Script::new(Evening::PerCore);
        for _ in 0..20 {
            assert_eq!(script.run(50, UNEVEN, 0), []);
            assert_eq!(script.run(1, EVEN, 0), []);
        }
    }

    #[test]
    fn a_rest_is_a_time_in_which_nothing_holds() {
        let mut script = Script::new(Evening::PerCore);
        assert_eq!(script.run(50, UNEVEN, 0), []);
        script.rest(20);
        assert_eq!(script.run(60, UNEVEN, 0), []);
        assert_eq!(script.run(1, UNEVEN, 0), [Id::UseWorkStealing]);
        assert_eq!(script.rest(30), [Id::UseWorkStealing]);
        assert_eq!(script.rest(30), []);
    }

    #[test]
    fn the_text_tells_why_since_when_and_what_to_do() {
        let mut script = Script::new(Evening::RebalanceOff);
        script.run(601, UNEVEN, 0);
        let [advice] = &script.adviser.advice()[..] else {
            panic!("one line");
        };
        let wanted = "imbalance 0.8, core 0 at 90 % and the mean at 50 %, for 10 min: set enabled = true in \
                      [runtime.glommio.rebalance], or use scheduler = \"tokio\", whose workers steal";
        assert_eq!(advice.text, wanted);
    }

    #[test]
    fn waits_are_those_of_the_last_ten_seconds() {
        let mut script = Script::new(Evening::Stealing);
        assert_eq!(script.run(62, EVEN, 200), [Id::CpuStarved]);
        // Ten seconds of the wait are still in the window at first.
        assert_eq!(script.run(60, EVEN, 0), [Id::CpuStarved]);
        assert_eq!(script.run(10, EVEN, 0), []);
    }

    #[test]
    fn every_name_has_a_series_from_the_start() {
        let mut families = Families::default();
        let advice = Advice {
            id: Id::AddCores,
            text: String::new(),
        };
        collect(&mut families, &[advice]);
        let text = families.encode().expect("it has samples");
        for id in Id::ALL {
            let value = u8::from(id == Id::AddCores);
            let line = format!("\ncorelane_advice{{advice=\"{}\"}} {value}\n", id.name());
            assert!(text.contains(&line), "{text}");
        }
    }
}
