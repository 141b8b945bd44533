//! Which server is next.
//!
//! Round robin counts over all workers, not within each: with a few connections, a count a worker would send
//! them all to the first server. That is one shared counter a connect, and none a message.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How an upstream's servers take turns.
#[derive(Debug)]
pub enum Balance {
    /// Each server in turn, by weight.
    RoundRobin(RoundRobin),
    /// The server with the fewest connections for its weight; equals take turns.
    LeastConnections(Turn),
}

/// What is known of a server when one is picked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) weight: u16,
}

impl Balance {
    /// Round robin over servers of these weights.
    pub fn round_robin(weights: &[u16]) -> Self {
        Self::RoundRobin(RoundRobin {
            order: smooth_order(weights),
            turn: Turn::default(),
        })
    }

    /// Least connections.
    pub fn least_connections() -> Self {
        Self::LeastConnections(Turn::default())
    }

    /// The next of `servers` servers that is not `excluded`.
    pub(crate) fn pick(
        &self,
        servers: usize,
        load: impl Fn(usize) -> Load,
        excluded: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin(round_robin) => {
                let order = &round_robin.order;
                let first = usize::from(order[round_robin.turn.next() % order.len()]);
                from(first, servers).find(|&server| !excluded(server))
            }
            Self::LeastConnections(turn) => from(turn.next() % servers, servers)
                .filter(|&server| !excluded(server))
                .min_by(|&a, &b| {
                    let (a, b) = (load(a), load(b));
                    // a.connections / a.weight against b.connections / b.weight, without division. The first
                    // of equals wins, and the turn has put another one first each time.
                    (a.connections * u64::from(b.weight))
                        .cmp(&(b.connections * u64::from(a.weight)))
                }),
        }
    }
}

/// The order in which servers take turns, and whose turn it is.
#[derive(Debug)]
pub struct RoundRobin {
    order: Box<[u16]>,
    turn: Turn,
}

/// A count that all workers share. It wraps after 2^64 picks.
#[derive(Debug, Default)]
pub struct Turn(AtomicUsize);

impl Turn {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Relaxed)
    }
}

/// All servers, beginning with `first`.
fn from(first: usize, servers: usize) -> impl Iterator<Item = usize> {
    (first..servers).chain(0..first)
}

/// One round of nginx's smooth weighted round robin: 5, 1, 1 gives a a b a c a a, not a a a a a b c.
fn smooth_order(weights: &[u16]) -> Box<[u16]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let weights: Vec<i64> = weights.iter().map(|&w| i64::from(w / divisor)).collect();
    let total: i64 = weights.iter().sum();
    let mut current = vec![0; weights.len()];
    (0..total)
        .map(|_| {
            let mut best = 0;
            for server in 0..weights.len() {
                current[server] += weights[server];
                if current[server] > current[best] {
                    best = server;
                }
            }
            current[best] -= total;
            best as u16
        })
        .collect()
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(connections: u64, weight: u16) -> Load {
        Load {
            connections,
            weight,
        }
    }

    #[test]
    fn round_robin_is_smooth_and_by_weight() {
        let balance = Balance::round_robin(&[50, 10, 10]);
        let picks: Vec<_> = (0..7)
            .map(|_| balance.pick(3, |_| load(0, 1), |_| false).unwrap())
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn round_robin_passes_over_what_was_tried() {
        let balance = Balance::round_robin(&[1, 1, 1]);
        assert_eq!(balance.pick(3, |_| load(0, 1), |s| s == 0), Some(1));
        assert_eq!(balance.pick(3, |_| load(0, 1), |_| true), None);
    }

    #[test]
    fn least_connections_is_relative_to_weight() {
        let balance = Balance::least_connections();
        let loads = [load(4, 1), load(7, 4), load(2, 1)];
        for _ in 0..4 {
            assert_eq!(balance.pick(3, |s| loads[s], |_| false), Some(1));
        }
    }

    #[test]
    fn least_connections_takes_turns_among_equals() {
        let balance = Balance::least_connections();
        let picks: Vec<_> = (0..4)
            .map(|_| balance.pick(2, |_| load(3, 1), |_| false).unwrap())
            .collect();
        assert_eq!(picks, [0, 1, 0, 1]);
    }
}
