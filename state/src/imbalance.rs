//! How uneven a load is, in three figures.

use crate::limits::IDLE_MAX;
use crate::model::Figures;

/// How uneven the utilizations of some cores are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imbalance {
    /// λ = max/mean − 1: 0 when even, n−1 when one of n cores does all. 0 while the mean is below 2 %.
    pub ratio: f64,
    /// max − mean: the part of a core that the others could have taken on.
    pub stranded: f64,
    /// Jain's index, (Σu)² / (n·Σu²): 1 when even, 1/n when one core does all. 1 while the mean is below 2 %.
    pub fairness: f64,
}

impl Imbalance {
    /// Of `utilization`, 0 to 1 a core.
    pub fn of(utilization: &[f64]) -> Self {
        let cores = utilization.len().max(1) as f64;
        let sum: f64 = utilization.iter().sum();
        let mean = sum / cores;
        // Rounding may put the mean a hair above the greatest.
        let max = utilization.iter().copied().fold(mean, f64::max);
        let stranded = max - mean;
        if mean < IDLE_MAX {
            return Self {
                ratio: 0.0,
                stranded,
                fairness: 1.0,
            };
        }
        let squares: f64 = utilization.iter().map(|u| u * u).sum();
        Self {
            ratio: (max / mean - 1.0).min(cores - 1.0),
            stranded,
            fairness: (sum * sum / (cores * squares)).clamp(1.0 / cores, 1.0),
        }
    }
}

impl From<Imbalance> for Figures {
    fn from(imbalance: Imbalance) -> Self {
        Self {
            ratio: imbalance.ratio,
            stranded: imbalance.stranded,
            fairness: imbalance.fairness,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_loads() {
        // utilization, λ, stranded, Jain
        let table: &[(&[f64], f64, f64, f64)] = &[
            (&[], 0.0, 0.0, 1.0),
            (&[0.0], 0.0, 0.0, 1.0),
            (&[0.7], 0.0, 0.0, 1.0),
            (&[0.5, 0.5], 0.0, 0.0, 1.0),
            (&[1.0, 0.0], 1.0, 0.5, 0.5),
            (&[1.0, 0.0, 0.0, 0.0], 3.0, 0.75, 0.25),
            (&[0.9, 0.3], 0.5, 0.3, 0.8),
            // Below 2 % in the mean.
            (&[0.03, 0.0], 0.0, 0.015, 1.0),
            (&[0.04, 0.0], 1.0, 0.02, 0.5),
        ];
        for &(utilization, ratio, stranded, fairness) in table {
            let found = Imbalance::of(utilization);
            let close = |found: f64, wanted: f64| (found - wanted).abs() < 1e-12;
            assert!(close(found.ratio, ratio), "{utilization:?}: {found:?}");
            assert!(
                close(found.stranded, stranded),
                "{utilization:?}: {found:?}"
            );
            assert!(
                close(found.fairness, fairness),
                "{utilization:?}: {found:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn bounds_hold(utilization in prop::collection::vec(0.0..=1.0, 1..80)) {
            let cores = utilization.len() as f64;
            let found = Imbalance::of(&utilization);
            prop_assert!((0.0..=cores - 1.0).contains(&found.ratio), "{found:?}");
            prop_assert!((0.0..=1.0).contains(&found.stranded), "{found:?}");
            prop_assert!((1.0 / cores..=1.0).contains(&found.fairness), "{found:?}");
        }

        #[test]
        fn the_order_of_cores_is_nothing(
            (utilization, shuffled) in prop::collection::vec(0.0..=1.0, 1..16)
                .prop_flat_map(|u| (Just(u.clone()), Just(u).prop_shuffle())),
        ) {
            let (one, other) = (Imbalance::of(&utilization), Imbalance::of(&shuffled));
            prop_assert!((one.ratio - other.ratio).abs() < 1e-9);
            prop_assert!((one.fairness - other.fairness).abs() < 1e-9);
        }
    }
}
