//! Whose turn it is.
//!
//! Round robin counts over all workers, not within each: with a few connections, a count a worker would send
//! them all to the first server. That is one shared counter a connect, and none a message. A server that can't
//! serve gives its turn up rather than to its neighbour: the next turn is taken, or where that finds nobody for a while, one
//! of those that are available by their weights. So the others share what it leaves. A retry takes no turn: it goes to one of
//! those that are left by their weights. Otherwise each failure would shift the turns, and with one of two servers
//! dead every connection would begin with it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Whose turn it is in an upstream. It outlives changes of the servers, their weights and the policy.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Turns of connections.
    pub(crate) first: Turn,
    /// Turns of retries, and among the servers that are available, where few are.
    pub(crate) another: Turn,
    /// Random numbers that were drawn.
    pub(crate) random: Turn,
    /// What makes them others than those of other processes.
    pub(crate) seed: u64,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            first: Turn::default(),
            another: Turn::default(),
            random: Turn::default(),
            seed: RandomState::new().hash_one(()),
        }
    }
}

/// A count that all workers share. It wraps after 2^64 picks.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicUsize);

impl Turn {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed) as u64
    }

    /// There were so many in other processes: the next one follows.
    pub(crate) fn go_on(&self, count: u64) {
        self.0.store(count as usize, Relaxed);
    }

    pub(crate) fn next(&self) -> usize {
        self.0.fetch_add(1, Relaxed)
    }
}

/// One round of nginx's smooth weighted round robin: 5, 1, 1 gives a a b a c a a, not a a a a a b c.
///
/// Each turn is that of the server to which the most is due: what its weight has earned it, less a round for each turn that
/// it had. Servers of one weight follow one another, so only weights are compared, of which there are few.
pub(crate) fn smooth_order(weights: &[u16]) -> Box<[u16]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: i64 = weights
        .iter()
        .map(|&weight| i64::from(weight / divisor))
        .sum();
    let mut classes: Vec<Class> = Vec::new();
    for (place, &weight) in weights.iter().enumerate() {
        let weight = i64::from(weight / divisor);
        let place = place as u16;
        match classes.iter_mut().find(|class| class.weight == weight) {
            Some(class) => class.places.push_back((place, 0)),
            None => classes.push(Class {
                weight,
                places: VecDeque::from([(place, 0)]),
            }),
        }
    }
    (1..=total)
        .map(|turn| {
            let due = |class: &Class| {
                let (place, had) = class.places.front().copied().unwrap_or_default();
                (turn * class.weight - had * total, std::cmp::Reverse(place))
            };
            let mut best = 0;
            for class in 1..classes.len() {
                if due(&classes[class]) > due(&classes[best]) {
                    best = class;
                }
            }
            let queue = &mut classes[best].places;
            let (place, had) = queue.pop_front().unwrap_or_default();
            queue.push_back((place, had + 1));
            place
        })
        .collect()
}

/// Servers of one weight.
struct Class {
    weight: i64,
    /// With the turns that each had: who had fewer comes first.
    places: VecDeque<(u16, i64)>,
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As nginx writes it: everybody earns, and whoever has most pays a round.
    fn by_the_book(weights: &[u16]) -> Vec<u16> {
        let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        let mut current = vec![0; weights.len()];
        (0..total)
            .map(|_| {
                let mut best = 0;
                for server in 0..weights.len() {
                    current[server] += i64::from(weights[server]);
                    if current[server] > current[best] {
                        best = server;
                    }
                }
                current[best] -= total;
                best as u16
            })
            .collect()
    }

    #[test]
    fn turns_are_smooth() {
        assert_eq!(smooth_order(&[50, 10, 10])[..], [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(smooth_order(&[7, 7, 7])[..], [0, 1, 2]);
        assert_eq!(smooth_order(&[])[..], []);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_book(weights in prop::collection::vec(1_u16..20, 1..20)) {
            let divisor = weights.iter().copied().fold(0, gcd);
            let weights: Vec<_> = weights.iter().map(|weight| weight / divisor).collect();
            prop_assert_eq!(&smooth_order(&weights)[..], &by_the_book(&weights)[..]);
        }
    }
}
