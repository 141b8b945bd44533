//! When a core migrates connections, which ones, and to which core.
//!
//! There is no coordinator. A core that has too much is awake by definition, so it judges for itself, by what all
//! cores count of themselves; a core that has nothing to do sleeps on.

use std::time::Duration;

/// How live connections are moved off a hot core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rebalance {
    /// Whether they are.
    pub enabled: bool,
    /// How often a core samples the loads of all, which is also the window that they are measured over.
    pub interval: Duration,
    /// How much busier than the mean a core must be, as a part of the mean: the λ above which something is done.
    pub threshold: f64,
    /// Connections that a core migrates in an interval, at most.
    pub max_moves: usize,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_millis(500),
            threshold: 0.25,
            max_moves: 64,
        }
    }
}

/// Mean utilization under which a machine is idle, and its λ is zero, as in the metrics.
const IDLE_MEAN: f64 = 0.02;

/// The least difference of two cores' utilization that is worth a move.
const GAP_MIN: f64 = 0.10;

/// Samples in a row that must find the core too busy. What its connections cost is measured between the first and the
/// last of them.
const STRIKES: u32 = 2;

/// Samples for which a core that migrated connections waits until the loads have settled.
const SETTLE_SAMPLES: u32 = 2;

/// Samples for which a core that found nothing to migrate waits at most, as when one flow is all of its load. It waits
/// twice as long each time.
const REST_SAMPLES_MAX: u32 = 64;

/// The part of the gap that a choice must close, at least.
const GAIN_MIN: f64 = 0.2;

/// Intervals for which a connection stays after its first move, whatever happens.
const REST_INTERVALS: u32 = 8;

/// Moves after which that time no longer doubles.
const REST_DOUBLINGS_MAX: u32 = 12;

/// How many intervals a connection stays where it is after so many moves, at least one.
///
/// It doubles with each. So one that is trouble wherever it is, or that two cores take for their best choice in turn,
/// comes to rest, whatever the loads do.
pub(crate) fn rest_intervals(moves: u32) -> u32 {
    REST_INTERVALS << moves.saturating_sub(1).min(REST_DOUBLINGS_MAX)
}

/// What a sample came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing is to be done.
    Rest,
    /// If this goes on, connections will migrate: what they cost is measured until the next sample.
    Measure,
    /// Connections are to migrate to cooler cores.
    Move(Room),
}

/// What a core that has too much may fill up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Room {
    /// Its own utilization.
    own: f64,
    /// Cooler cores, and their utilization; none of them is another hot core's to fill up.
    cooler: Vec<(usize, f64)>,
}

/// One core's judgement.
#[derive(Debug)]
pub(crate) struct Judge {
    own: usize,
    threshold: f64,
    strikes: u32,
    rest: u32,
    misses: u32,
}

impl Judge {
    pub(crate) fn new(own: usize, threshold: f64) -> Self {
        Self {
            own,
            threshold,
            strikes: 0,
            rest: 0,
            misses: 0,
        }
    }

    /// Judges by a sample of the utilization of all cores.
    pub(crate) fn on_sample(&mut self, utilization: &[f64]) -> Verdict {
        let Some(room) = room(self.own, self.threshold, utilization) else {
            (self.strikes, self.misses) = (0, 0);
            self.rest = self.rest.saturating_sub(1);
            return Verdict::Rest;
        };
        if self.rest > 0 {
            self.rest -= 1;
            return Verdict::Rest;
        }
        self.strikes += 1;
        if self.strikes < STRIKES {
            return Verdict::Measure;
        }
        self.strikes = 0;
        Verdict::Move(room)
    }

    /// So many connections were chosen after [`Verdict::Move`].
    pub(crate) fn on_chosen(&mut self, count: usize) {
        if count > 0 {
            self.misses = 0;
            self.rest = SETTLE_SAMPLES;
        } else {
            self.misses += 1;
            self.rest = (SETTLE_SAMPLES << self.misses.min(16)).min(REST_SAMPLES_MAX);
        }
    }
}

/// The cores that a core may migrate connections to; none when it is not too busy.
///
/// Several cores may be too busy at once, and none knows what the others do. So they take turns at the cooler cores, the
/// hottest at the coolest, as if these were dealt like cards.
fn room(own: usize, threshold: f64, utilization: &[f64]) -> Option<Room> {
    let mean = utilization.iter().sum::<f64>() / utilization.len() as f64;
    let is_hot = |core: &usize| utilization[*core] / mean - 1.0 > threshold;
    if mean < IDLE_MEAN || !is_hot(&own) {
        return None;
    }
    let by_heat = |a: &usize, b: &usize| utilization[*b].total_cmp(&utilization[*a]).then(a.cmp(b));
    let mut hot: Vec<usize> = (0..utilization.len()).filter(is_hot).collect();
    hot.sort_by(by_heat);
    let mut cool: Vec<usize> = (0..utilization.len())
        .filter(|&core| utilization[core] < mean)
        .collect();
    cool.sort_by(|a, b| by_heat(b, a));
    let rank = hot.iter().position(|&core| core == own)?;
    let cooler: Vec<_> = cool
        .into_iter()
        .skip(rank)
        .step_by(hot.len())
        .map(|core| (core, utilization[core]))
        .filter(|(_, load)| utilization[own] - load >= GAP_MIN)
        .collect();
    (!cooler.is_empty()).then_some(Room {
        own: utilization[own],
        cooler,
    })
}

/// The connections to migrate, at most `max_moves`, and to which core each. `costs` are what connections take of this core,
/// as a part of its time.
///
/// The dearest first, each to the core that is the coolest then, as long as that leaves the two closer than they were.
/// What moves counts twice: less here, more there. So half of the difference is best, and all of it would only swap
/// the cores.
pub(crate) fn choose<K: Copy>(
    mut costs: Vec<(K, f64)>,
    room: Room,
    max_moves: usize,
) -> Vec<(K, usize)> {
    let Room {
        mut own,
        mut cooler,
    } = room;
    let (before, mut first_gap) = (own, None);
    let mut chosen = Vec::new();
    costs.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    for (key, cost) in costs {
        let coolest = cooler.iter_mut().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some((core, load)) = coolest.filter(|_| chosen.len() < max_moves) else {
            break;
        };
        let gap = own - *load;
        first_gap.get_or_insert(gap);
        let gain = gap - (gap - 2.0 * cost).abs();
        // Half of the gap or less never goes too far; more of it must be worth it by itself, and more so: what is
        // measured is not exact, and it could be for nothing.
        if cost > 0.0 && (2.0 * cost <= gap || gain >= 2.0 * GAIN_MIN * gap) {
            chosen.push((key, *core));
            own -= cost;
            *load += cost;
        }
    }
    // What max_moves cuts short is a beginning, however little it is.
    let little = 2.0 * (before - own) < GAIN_MIN * first_gap.unwrap_or(0.0);
    if chosen.len() < max_moves && little {
        chosen.clear();
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Room of a core of this utilization beside idle ones.
    fn beside_idle(own: f64, idle: usize) -> Room {
        Room {
            own,
            cooler: (1..=idle).map(|core| (core, 0.0)).collect(),
        }
    }

    #[test]
    fn hot_cores_share_the_cooler_ones() {
        let utilization = [0.9, 0.1, 0.2, 1.0, 0.5, 0.3];
        let to = |own| {
            let room = room(own, 0.25, &utilization);
            room.map(|room| {
                room.cooler
                    .iter()
                    .map(|&(core, _)| core)
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(to(3), Some(vec![1, 5]));
        assert_eq!(to(0), Some(vec![2]));
        assert_eq!((to(1), to(2), to(4)), (None, None, None));
    }

    #[test]
    fn nothing_is_done_when_it_is_even_or_idle() {
        assert_eq!(room(0, 0.25, &[1.0, 0.9]), None);
        assert_eq!(room(0, 0.25, &[0.03, 0.0]), None);
        assert_eq!(room(0, 0.25, &[0.7]), None);
    }

    #[test]
    fn half_of_the_gap_moves() {
        let costs: Vec<_> = (0..8).map(|key| (key, 0.125)).collect();
        assert_eq!(choose(costs.clone(), beside_idle(1.0, 1), 16).len(), 4);
        assert_eq!(choose(costs, beside_idle(1.0, 1), 3).len(), 3);
    }

    #[test]
    fn each_cooler_core_gets_its_part() {
        let costs: Vec<_> = (0..4).map(|key| (key, 0.25)).collect();
        let chosen = choose(costs, beside_idle(1.0, 3), 16);
        assert_eq!(chosen, [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn a_lone_elephant_stays() {
        let stays = |costs: &[(u32, f64)], own, max_moves| {
            choose(costs.to_vec(), beside_idle(own, 3), max_moves).is_empty()
        };
        assert!(stays(&[(0, 1.0)], 1.0, 16));
        assert!(stays(&[(0, 0.95), (1, 0.05)], 1.0, 16));
        assert!(stays(&[(0, 0.5)], 0.5, 16));
        assert!(stays(&[(0, 0.95)], 0.97, 1));
    }

    #[test]
    fn it_takes_two_looks_and_then_rests() {
        let mut judge = Judge::new(0, 0.25);
        let hot = [1.0, 0.0];
        assert_eq!(judge.on_sample(&hot), Verdict::Measure);
        assert_eq!(judge.on_sample(&[0.5, 0.5]), Verdict::Rest);
        assert_eq!(judge.on_sample(&hot), Verdict::Measure);
        assert_eq!(judge.on_sample(&hot), Verdict::Move(beside_idle(1.0, 1)));
        judge.on_chosen(0);
        let samples = |judge: &mut Judge| {
            (0..)
                .find(|_| judge.on_sample(&hot) == Verdict::Measure)
                .unwrap()
        };
        assert_eq!(samples(&mut judge), 2 * SETTLE_SAMPLES);
        judge.on_sample(&hot);
        judge.on_chosen(0);
        assert_eq!(samples(&mut judge), 4 * SETTLE_SAMPLES);
    }

    #[derive(Clone)]
    struct Flow {
        demand: f64,
        core: usize,
        rests_until: u32,
        moves: u32,
    }

    impl Flow {
        fn new(demand: f64, core: usize) -> Self {
            Self {
                demand,
                core,
                rests_until: 0,
                moves: 0,
            }
        }
    }

    /// Flows of given demands on cores that each sample once a round, with an error in what they measure.
    struct Machine {
        judges: Vec<Judge>,
        flows: Vec<Flow>,
        rng: u64,
    }

    impl Machine {
        fn new(cores: usize, flows: Vec<Flow>, rng: u64) -> Self {
            Self {
                judges: (0..cores).map(|own| Judge::new(own, 0.25)).collect(),
                flows,
                rng,
            }
        }

        fn demand(&self, core: usize) -> f64 {
            let flows = self.flows.iter().filter(|flow| flow.core == core);
            flows.map(|flow| flow.demand).sum()
        }

        fn utilization(&self) -> Vec<f64> {
            let cores = 0..self.judges.len();
            cores.map(|core| self.demand(core).min(1.0)).collect()
        }

        /// What a measurement is wrong by: five per cent at most.
        fn error(&mut self) -> f64 {
            self.rng = self
                .rng
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            0.95 + (self.rng >> 40) as f64 / (1u64 << 24) as f64 * 0.1
        }

        /// Moves in a round.
        fn round(&mut self, round: u32) -> usize {
            let utilization = self.utilization();
            let mut moves = 0;
            for own in 0..self.judges.len() {
                let seen = utilization
                    .iter()
                    .map(|load| (load * self.error()).min(1.0));
                let seen: Vec<_> = seen.collect();
                let Verdict::Move(room) = self.judges[own].on_sample(&seen) else {
                    continue;
                };
                // A core that has too much slows all of its flows down alike.
                let scale = utilization[own] / self.demand(own);
                let mut costs = Vec::new();
                for index in 0..self.flows.len() {
                    let flow = &self.flows[index];
                    if flow.core == own && flow.rests_until <= round {
                        costs.push((index, flow.demand * scale * self.error()));
                    }
                }
                let chosen = choose(costs, room, 64);
                self.judges[own].on_chosen(chosen.len());
                moves += chosen.len();
                for (index, to) in chosen {
                    let flow = &mut self.flows[index];
                    flow.core = to;
                    flow.moves += 1;
                    flow.rests_until = round + rest_intervals(flow.moves);
                }
            }
            moves
        }
    }

    fn imbalance(utilization: &[f64]) -> f64 {
        let mean = utilization.iter().sum::<f64>() / utilization.len() as f64;
        utilization.iter().copied().fold(0.0, f64::max) / mean - 1.0
    }

    proptest! {
        /// Wherever steady flows begin, they come to rest, and no core is worse off than before.
        #[test]
        fn it_comes_to_rest(
            cores in 2usize..9,
            flows in prop::collection::vec((0.01f64..0.5, 0usize..9), 1..40),
            seed in any::<u64>(),
        ) {
            let flows = flows.iter().map(|&(demand, core)| Flow::new(demand, core % cores));
            let mut machine = Machine::new(cores, flows.collect(), seed);
            let before = imbalance(&machine.utilization());
            let moves: Vec<_> = (0..2000).map(|round| machine.round(round)).collect();
            let after = imbalance(&machine.utilization());
            let count = machine.flows.len();
            prop_assert!(moves.iter().sum::<usize>() <= 4 * count);
            // An hour's half at the default interval.
            prop_assert!(moves[1000..].iter().sum::<usize>() <= 3 + count / 3);
            prop_assert!(after <= before + 0.1, "{before} became {after}");
        }

        /// Many small flows, all on one core, end up even.
        #[test]
        fn many_flows_become_even(cores in 2usize..9, each in 0.005f64..0.02, seed in any::<u64>()) {
            let mut machine = Machine::new(cores, vec![Flow::new(each, 0); 30 * cores], seed);
            for round in 0..300 {
                machine.round(round);
            }
            let utilization = machine.utilization();
            let after = imbalance(&utilization);
            let idle = utilization.iter().all(|&load| load < GAP_MIN * 2.0);
            prop_assert!(after <= 0.5 || idle, "{utilization:?}");
        }
    }
}
