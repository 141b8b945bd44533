//! Several upstreams by weight.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::Destination;

/// Destinations and their parts of the connections.
#[derive(Debug)]
pub(super) struct Split {
    /// Each with the sum of the weights up to its own.
    parts: Box<[(u64, Destination)]>,
    total: u64,
    /// Turns are this far apart, so that each part has its turns all over the round.
    step: u64,
}

impl Split {
    /// None if nobody has a weight. A part without one gets no connection.
    pub(super) fn new(parts: impl IntoIterator<Item = (Destination, u32)>) -> Option<Self> {
        let mut total = 0;
        let parts = parts.into_iter().filter(|(_, weight)| *weight > 0);
        let parts: Box<[_]> = parts
            .map(|(destination, weight)| {
                total += u64::from(weight);
                (total, destination)
            })
            .collect();
        (total > 0).then(|| Self {
            parts,
            total,
            step: step(total),
        })
    }

    /// The destinations with their weights.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Destination, u64)> {
        let mut before = 0;
        self.parts.iter().map(move |&(end, destination)| {
            let weight = end - before;
            before = end;
            (destination, weight)
        })
    }

    /// Of `total` turns that follow on each other, each part has exactly as many as it weighs.
    pub(super) fn pick(&self, turns: &AtomicU64) -> Destination {
        if let [(_, only)] = *self.parts {
            return only;
        }
        let turn = turns.fetch_add(1, Relaxed) % self.total;
        let point = turn * self.step % self.total;
        let place = self.parts.partition_point(|(end, _)| *end <= point);
        self.parts[place].1
    }
}

/// Near the golden section of the round, without a divisor in common with it.
fn step(total: u64) -> u64 {
    let near = total * 618 / 1000;
    (near.max(1)..=total)
        .find(|step| gcd(*step, total) == 1)
        .unwrap_or(1)
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 {
        one
    } else {
        gcd(other, one % other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picks(weights: &[u32], count: u64) -> Vec<u16> {
        let parts = (1..).map(Destination).zip(weights.iter().copied());
        let split = Split::new(parts).expect("a weight");
        let turns = AtomicU64::new(7);
        (0..count).map(|_| split.pick(&turns).0).collect()
    }

    #[test]
    fn a_canary_gets_its_part_soon_and_evenly() {
        let picks = picks(&[90, 10], 100);
        let canary: Vec<_> = picks
            .iter()
            .enumerate()
            .filter(|(_, to)| **to == 2)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(canary.len(), 10);
        for pair in canary.windows(2) {
            assert!((5..=20).contains(&(pair[1] - pair[0])), "{canary:?}");
        }
    }

    #[test]
    fn who_has_no_weight_gets_nothing() {
        assert!(picks(&[0, 1], 10).iter().all(|to| *to == 2));
        assert!(Split::new([(Destination(1), 0)]).is_none());
    }

    proptest! {
        #[test]
        fn parts_are_exact_over_a_round(weights in proptest::collection::vec(0..50u32, 1..6)) {
            let total: u32 = weights.iter().sum();
            prop_assume!(total > 0 && weights.iter().filter(|weight| **weight > 0).count() > 1);
            let picks = picks(&weights, total.into());
            for (place, weight) in weights.iter().enumerate() {
                let got = picks.iter().filter(|to| usize::from(**to) == place + 1).count();
                prop_assert_eq!(got, *weight as usize);
            }
        }
    }
}
