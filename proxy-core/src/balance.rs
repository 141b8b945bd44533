//! Which server is next.
//!
//! Round robin counts over all workers, not within each: with a few connections, a count a worker would send
//! them all to the first server. That is one shared counter a connect, and none a message. A server that can't be
//! had gives its turn up rather than to its neighbour: the next turn is taken, so that the others share what it leaves
//! by their weights.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Turns that a pick passes over before it takes the next best server, whosever turn it is.
const TURNS_PASSED_MAX: usize = 64;

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

    /// The next of `servers` servers that was not `tried`; one that is `down` only when all that were not are.
    ///
    /// So checks that are wrong, as when it is this machine's network that fails, are no outage.
    pub(crate) fn pick(
        &self,
        servers: usize,
        load: impl Fn(usize) -> Load,
        tried: impl Fn(usize) -> bool,
        down: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let all_down = (0..servers).all(|server| tried(server) || down(server));
        if all_down && (0..servers).all(&tried) {
            return None;
        }
        let usable = |&server: &usize| !tried(server) && (all_down || !down(server));
        match self {
            Self::RoundRobin(round_robin) => round_robin.pick(servers, usable),
            Self::LeastConnections(turn) => {
                let candidates = (0..servers).filter(usable);
                let first = turn.next() % candidates.clone().count().max(1);
                let in_turn = candidates.clone().skip(first).chain(candidates.take(first));
                in_turn.min_by(|&a, &b| {
                    let (a, b) = (load(a), load(b));
                    // a.connections / a.weight against b.connections / b.weight, without division. The first
                    // of equals wins, and the turn has put another one first each time.
                    (a.connections * u64::from(b.weight))
                        .cmp(&(b.connections * u64::from(a.weight)))
                })
            }
        }
    }
}

/// The order in which servers take turns, and whose turn it is.
#[derive(Debug)]
pub struct RoundRobin {
    order: Box<[u16]>,
    turn: Turn,
}

impl RoundRobin {
    /// The server whose turn it is, of those that are `usable`.
    fn pick(&self, servers: usize, usable: impl Fn(&usize) -> bool) -> Option<usize> {
        let in_turn = || usize::from(self.order[self.turn.next() % self.order.len()]);
        let mut server = in_turn();
        for _ in 0..TURNS_PASSED_MAX {
            if usable(&server) {
                return Some(server);
            }
            server = in_turn();
        }
        from(server, servers).find(usable)
    }
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
    use proptest::prelude::*;

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
            .map(|_| {
                balance
                    .pick(3, |_| load(0, 1), |_| false, |_| false)
                    .unwrap()
            })
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn round_robin_passes_over_what_was_tried() {
        let balance = Balance::round_robin(&[1, 1, 1]);
        assert_eq!(
            balance.pick(3, |_| load(0, 1), |s| s == 0, |_| false),
            Some(1)
        );
        assert_eq!(balance.pick(3, |_| load(0, 1), |_| true, |_| false), None);
    }

    #[test]
    fn least_connections_is_relative_to_weight() {
        let balance = Balance::least_connections();
        let loads = [load(4, 1), load(7, 4), load(2, 1)];
        for _ in 0..4 {
            assert_eq!(balance.pick(3, |s| loads[s], |_| false, |_| false), Some(1));
        }
    }

    #[test]
    fn least_connections_takes_turns_among_equals() {
        let balance = Balance::least_connections();
        let picks: Vec<_> = (0..4)
            .map(|_| {
                balance
                    .pick(2, |_| load(3, 1), |_| false, |_| false)
                    .unwrap()
            })
            .collect();
        assert_eq!(picks, [0, 1, 0, 1]);
    }

    fn picks<const N: usize>(balance: &Balance, servers: usize, down: &[usize]) -> [usize; N] {
        let down = |server| down.contains(&server);
        let pick = |_| balance.pick(servers, |_| load(0, 1), |_| false, down);
        std::array::from_fn(pick).map(|server| server.expect("there is always one to try"))
    }

    #[test]
    fn the_turns_of_a_server_that_is_down_are_shared_by_weight() {
        let balance = Balance::round_robin(&[1, 1, 1]);
        assert_eq!(picks(&balance, 3, &[0]), [1, 2, 1, 2]);
        // Without the second: 0 0 2 0 0, a round.
        let balance = Balance::round_robin(&[4, 2, 1]);
        assert_eq!(picks(&balance, 3, &[1]), [0, 0, 2, 0, 0, 0, 0, 2, 0, 0]);
    }

    #[test]
    fn equals_share_what_a_server_that_is_down_leaves() {
        let balance = Balance::least_connections();
        assert_eq!(picks(&balance, 3, &[0]), [1, 2, 1, 2]);
    }

    #[test]
    fn when_all_are_down_each_is_tried_in_turn() {
        let balance = Balance::round_robin(&[1, 1]);
        assert_eq!(picks(&balance, 2, &[0, 1]), [0, 1, 0, 1]);
        let balance = Balance::least_connections();
        assert_eq!(picks(&balance, 2, &[0, 1]), [0, 1, 0, 1]);
    }

    #[test]
    fn one_that_is_down_is_tried_when_the_others_were() {
        for balance in [Balance::round_robin(&[1, 1]), Balance::least_connections()] {
            let pick =
                |tried: fn(usize) -> bool| balance.pick(2, |_| load(0, 1), tried, |s| s == 1);
            assert_eq!(pick(|s| s == 0), Some(1));
            assert_eq!(pick(|_| true), None);
        }
    }

    #[test]
    fn many_that_are_down_end_the_search_in_time() {
        let balance = Balance::round_robin(&[1; 1000]);
        let last = || balance.pick(1000, |_| load(0, 1), |_| false, |s| s != 999);
        assert_eq!((last(), last()), (Some(999), Some(999)));
    }

    proptest! {
        /// Whatever is down, the others' parts of many picks are as their weights.
        #[test]
        fn parts_are_as_the_weights_of_those_that_are_up(
            servers in prop::collection::vec((1_u16..5, any::<bool>()), 1..6),
        ) {
            let weights: Vec<u16> = servers.iter().map(|&(weight, _)| weight).collect();
            let up: u16 = servers.iter().filter(|(_, up)| *up).map(|(weight, _)| weight).sum();
            prop_assume!(up > 0);
            let balance = Balance::round_robin(&weights);
            let mut counts = vec![0; servers.len()];
            const ROUNDS: usize = 20;
            for _ in 0..ROUNDS * usize::from(up) {
                let down = |server: usize| !servers[server].1;
                let server = balance.pick(servers.len(), |_| load(0, 1), |_| false, down);
                counts[server.expect("one is up")] += 1;
            }
            for (&(weight, up), count) in servers.iter().zip(counts) {
                let wanted = if up { ROUNDS * usize::from(weight) } else { 0 };
                prop_assert_eq!(count, wanted, "{:?}", servers);
            }
        }
    }
}
