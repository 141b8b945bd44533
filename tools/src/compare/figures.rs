//! What was measured of a scheduler, round by round.

use crate::candidate::Candidate;

/// Rounds from which on the two extremes are left out of the spread.
const ROUNDS_TRIMMED_MIN: usize = 5;

/// One scheduler in one round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Round {
    /// Answers to light flows.
    pub(crate) requests_per_second: f64,
    /// Bytes that came back to clients.
    pub(crate) bytes_per_second: f64,
    /// Seconds, of light flows.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU of all workers, in seconds a second.
    pub(crate) cpu: f64,
    /// λ = max/mean − 1 of the workers' utilization.
    pub(crate) imbalance: f64,
    /// max − mean of it.
    pub(crate) stranded: f64,
    /// Flows that broke.
    pub(crate) lost: u64,
}

/// All rounds of a scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) candidate: Candidate,
    /// As many as of the others, in the same order.
    pub(crate) rounds: Vec<Round>,
}

/// What schedulers are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Requests a second, or bytes where there are heavy flows.
    Work,
    /// CPU for it.
    Cost,
    /// p99.
    Latency,
}

/// How one scheduler's figure relates to another's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// Median over the rounds; over 1 is better.
    pub(crate) median: f64,
    /// Greatest less least.
    pub(crate) spread: f64,
}

impl Figure {
    pub(crate) const ALL: [Self; 3] = [Self::Work, Self::Cost, Self::Latency];

    /// Of a round: the greater, the better.
    fn of(self, round: &Round, heavy: bool) -> f64 {
        let work = if heavy {
            round.bytes_per_second
        } else {
            round.requests_per_second
        };
        let positive = |value: f64| value.max(1e-12);
        match self {
            Self::Work => work,
            Self::Cost => work / positive(round.cpu),
            Self::Latency => 1.0 / positive(round.p99),
        }
    }

    /// The difference below which a figure is the same whatever the spread says.
    fn difference_min(self) -> f64 {
        match self {
            Self::Work | Self::Cost => 0.05,
            // Half a doubling is what the eye sees in a percentile.
            Self::Latency => 0.25,
        }
    }
}

impl Outcome {
    /// The median over the rounds.
    pub(crate) fn median(&self, read: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(read).collect())
    }

    /// CPU seconds a request; a byte, where there are heavy flows.
    pub(crate) fn cost(&self, heavy: bool) -> f64 {
        1.0 / self
            .median(|round| Figure::Cost.of(round, heavy))
            .max(1e-12)
    }

    /// How much better than `other`. What drifts from round to round drifts for both, so each round is compared by itself.
    pub(crate) fn ratio(&self, other: &Self, figure: Figure, heavy: bool) -> Ratio {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<_> = pairs
            .map(|(own, other)| figure.of(own, heavy) / figure.of(other, heavy).max(1e-12))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let extremes = usize::from(ratios.len() >= ROUNDS_TRIMMED_MIN);
        let kept = &ratios[extremes..ratios.len() - extremes];
        let spread = kept
            .last()
            .zip(kept.first())
            .map_or(0.0, |(last, first)| last - first);
        Ratio {
            median: median(ratios),
            spread,
        }
    }

    /// By how much it is better than `other`; none when it isn't, or by no more than the rounds differ among
    /// themselves.
    pub(crate) fn gain(&self, other: &Self, figure: Figure, heavy: bool) -> Option<f64> {
        let ratio = self.ratio(other, figure, heavy);
        let gain = ratio.median - 1.0;
        (gain > ratio.spread.max(figure.difference_min())).then_some(gain)
    }
}

/// Of nothing it is zero.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::MOVES;

    fn outcome(requests: &[f64]) -> Outcome {
        let round = |&requests_per_second: &f64| Round {
            requests_per_second,
            cpu: 1.0,
            p99: 0.001,
            ..Round::default()
        };
        Outcome {
            candidate: MOVES,
            rounds: requests.iter().map(round).collect(),
        }
    }

    fn gain(one: &[f64], other: &[f64]) -> Option<f64> {
        outcome(one).gain(&outcome(other), Figure::Work, false)
    }

    #[test]
    fn drift_that_both_share_is_no_spread() {
        let found = gain(&[120.0, 60.0, 240.0], &[100.0, 50.0, 200.0]);
        assert!((found.expect("better") - 0.2).abs() < 1e-9);
        assert_eq!(gain(&[100.0, 50.0, 200.0], &[120.0, 60.0, 240.0]), None);
    }

    #[test]
    fn what_is_under_the_spread_is_no_gain() {
        assert_eq!(gain(&[120.0, 110.0, 90.0], &[100.0, 100.0, 100.0]), None);
        assert_eq!(gain(&[120.0, 100.0], &[100.0, 100.0]), None);
        // Nor is what nobody would notice.
        assert_eq!(gain(&[104.0; 3], &[100.0; 3]), None);
    }

    #[test]
    fn one_outlier_of_five_rounds_is_left_out() {
        let found = gain(&[120.0, 120.0, 60.0, 121.0, 120.0], &[100.0; 5]);
        assert!((found.expect("better") - 0.2).abs() < 1e-9);
    }

    #[test]
    fn less_cpu_is_better() {
        let mut frugal = outcome(&[100.0; 3]);
        frugal.rounds.iter_mut().for_each(|round| round.cpu = 0.8);
        let other = outcome(&[100.0; 3]);
        let found = frugal.gain(&other, Figure::Cost, false);
        assert!((found.expect("better") - 0.25).abs() < 1e-9);
        assert!((frugal.cost(false) - 0.008).abs() < 1e-12);
        assert_eq!(other.gain(&frugal, Figure::Cost, false), None);
    }
}
