//! What the cores' utilization means. The findings, the advice, the live page and `corelane top` judge by this alone, and
//! `corelane compare` by the same λ; the dashboards and alerts have the same 60 % and 90 %.

use crate::imbalance::Imbalance;
use crate::limits::{GAP_MIN, HOT_MIN, IDLE_MAX, Limits, UNEVEN_MIN};
use crate::model::Level;

/// How the cores share the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// There is next to none.
    Idle,
    /// One core is short of time, and the others could help it.
    Hot,
    /// All cores are short of time.
    Full,
    /// One core has much more to do than the others.
    Uneven,
    /// The load is uneven by λ, and so light that it costs nobody anything.
    Light,
    /// The load is even.
    Even,
}

/// Some cores, judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// What comes of the rest.
    pub balance: Balance,
    /// The busiest core.
    pub hottest: usize,
    /// Its utilization.
    pub most: f64,
    /// The least utilization.
    pub least: f64,
    /// Of all cores.
    pub mean: f64,
    /// The mean of all cores but the busiest.
    pub others: f64,
    /// λ.
    pub ratio: f64,
}

impl Judgement {
    /// Of `utilization`, 0 to 1 a core. None without cores.
    pub fn of(utilization: &[f64]) -> Option<Self> {
        let (hottest, &most) = greatest(utilization)?;
        let cores = utilization.len() as f64;
        let sum: f64 = utilization.iter().sum();
        let mean = sum / cores;
        let others = (sum - most) / (cores - 1.0).max(1.0);
        let least = utilization.iter().copied().fold(f64::INFINITY, f64::min);
        let ratio = Imbalance::of(utilization).ratio;
        let is_apart = cores > 1.0 && most - others >= GAP_MIN;
        let balance = if mean < IDLE_MAX {
            Balance::Idle
        } else if most >= HOT_MIN && is_apart {
            Balance::Hot
        } else if least >= HOT_MIN {
            Balance::Full
        } else if ratio < UNEVEN_MIN {
            Balance::Even
        } else if is_apart {
            Balance::Uneven
        } else {
            Balance::Light
        };
        Some(Self {
            balance,
            hottest,
            most,
            least,
            mean,
            others,
            ratio,
        })
    }
}

impl Limits {
    /// How urgent the utilization of one core is, by itself.
    pub fn level_of(self, utilization: f64) -> Level {
        if utilization >= self.hot {
            Level::Alarm
        } else if utilization >= self.warm {
            Level::Warning
        } else {
            Level::Good
        }
    }
}

/// The greatest value, and its index. None of none.
pub fn greatest(values: &[f64]) -> Option<(usize, &f64)> {
    values
        .iter()
        .enumerate()
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_load_has_its_name() {
        let table: &[(&[f64], Balance)] = &[
            (&[0.0, 0.01], Balance::Idle),
            (&[0.9, 0.1], Balance::Hot),
            (&[0.9, 0.65], Balance::Hot),
            (&[0.95, 0.9], Balance::Full),
            (&[0.97], Balance::Full),
            (&[0.95, 0.89], Balance::Even),
            (&[0.89, 0.1], Balance::Uneven),
            (&[0.3, 0.0], Balance::Uneven),
            (&[0.3, 0.1], Balance::Light),
            (&[0.5, 0.45], Balance::Even),
            (&[0.5], Balance::Even),
        ];
        for &(utilization, balance) in table {
            let judged = Judgement::of(utilization).expect("cores");
            assert_eq!(judged.balance, balance, "{judged:?}");
        }
        assert_eq!(Judgement::of(&[]), None);
    }

    #[test]
    fn a_core_by_itself_has_the_same_limits() {
        let levels = [0.0, 0.59, 0.6, 0.89, 0.9, 1.0].map(|used| Limits::default().level_of(used));
        let wanted = [
            Level::Good,
            Level::Good,
            Level::Warning,
            Level::Warning,
            Level::Alarm,
            Level::Alarm,
        ];
        assert_eq!(levels, wanted);
    }

    proptest! {
        #[test]
        fn who_is_hot_or_full_has_a_core_at_the_alarm(
            utilization in prop::collection::vec(0.0..=1.0, 1..80),
        ) {
            let judged = Judgement::of(&utilization).expect("cores");
            let is_short = matches!(judged.balance, Balance::Hot | Balance::Full);
            prop_assert!(!is_short || Limits::default().level_of(judged.most) == Level::Alarm, "{judged:?}");
            prop_assert!(judged.least <= judged.mean + 1e-9 && judged.mean <= judged.most + 1e-9);
        }
    }
}
