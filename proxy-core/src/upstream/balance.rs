//! Which server is next.
//!
//! Round robin counts over all workers, not within each: with a few connections, a count a worker would send
//! them all to the first server. That is one shared counter a connect, and none a message. A server that can't be
//! had gives its turn up rather than to its neighbour: the next turn is taken, or where that finds nobody for a while, one
//! of those that are available by their weights. So the others share what it leaves. A retry takes no turn: it goes to one of
//! those that are left by their weights. Otherwise each failure would shift the turns, and with one of two servers
//! dead every connection would begin with it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Turns that a pick passes over before it deals by weight among those that are available: each is a write that all
/// workers share.
const TURNS_PASSED_MAX: usize = 4;

/// How an upstream's servers take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each server in turn, by weight.
    RoundRobin,
    /// The server with the fewest connections for its weight; equals take turns.
    LeastConnections,
}

/// Which of a connection's tries a server is picked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    /// It takes a turn.
    First,
    /// Another server has failed. It leaves the turns alone.
    Another,
}

/// What is known of a server when one is picked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) weight: u16,
}

/// Whose turn it is in an upstream. It outlives changes of the servers and their weights.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Turns of connections.
    first: Turn,
    /// Turns of retries, and among the servers that are available, where few are.
    another: Turn,
}

/// How a server is picked among those of a pool.
#[derive(Debug)]
pub(crate) struct Picker {
    balance: Balance,
    /// The order in which servers take turns, where that is how one is picked.
    order: Box<[u16]>,
    weights: Box<[u16]>,
}

impl Picker {
    /// Among servers of these weights.
    pub(crate) fn new(balance: Balance, weights: &[u16]) -> Self {
        Self {
            balance,
            order: match balance {
                Balance::RoundRobin => smooth_order(weights),
                Balance::LeastConnections => Box::default(),
            },
            weights: weights.into(),
        }
    }

    /// The next server that was not `tried`; one that is `down` only when all that were not are.
    ///
    /// So checks that are wrong, as when it is this machine's network that fails, are no outage.
    pub(crate) fn pick(
        &self,
        turns: &Turns,
        load: impl Fn(usize) -> Load,
        tried: impl Fn(usize) -> bool,
        down: impl Fn(usize) -> bool,
        try_number: Try,
    ) -> Option<usize> {
        let servers = self.weights.len();
        let all_down = (0..servers).all(|server| tried(server) || down(server));
        if all_down && (0..servers).all(&tried) {
            return None;
        }
        let usable = |&server: &usize| !tried(server) && (all_down || !down(server));
        let picked = match (self.balance, try_number) {
            (Balance::RoundRobin, Try::First) => self.pick_in_turn(turns, usable),
            (Balance::RoundRobin, Try::Another) => self.deal(&turns.another, usable),
            (Balance::LeastConnections, Try::First) => self.least(&turns.first, load, usable),
            (Balance::LeastConnections, Try::Another) => self.least(&turns.another, load, usable),
        };
        // The last one that was up may have gone down meanwhile; then all are down, and are tried.
        picked.or_else(|| (0..servers).find(|&server| !tried(server)))
    }

    /// The server whose turn it is, of those that are `usable`.
    fn pick_in_turn(&self, turns: &Turns, usable: impl Fn(&usize) -> bool) -> Option<usize> {
        let in_turn = || usize::from(self.order[turns.first.next() % self.order.len()]);
        let in_time = (0..=TURNS_PASSED_MAX).map(|_| in_turn()).find(&usable);
        in_time.or_else(|| self.deal(&turns.another, usable))
    }

    /// One of those that are `usable`, by weight.
    fn deal(&self, turn: &Turn, usable: impl Fn(&usize) -> bool) -> Option<usize> {
        let weight = |server: usize| usize::from(self.weights[server]);
        let candidates = || (0..self.weights.len()).filter(&usable);
        let total: usize = candidates().map(weight).sum();
        let mut place = turn.next().checked_rem(total)?;
        candidates().find(|&server| {
            let found = place < weight(server);
            place = place.saturating_sub(weight(server));
            found
        })
    }

    /// The one with the fewest connections for its weight of those that are `usable`.
    fn least(
        &self,
        turn: &Turn,
        load: impl Fn(usize) -> Load,
        usable: impl Fn(&usize) -> bool,
    ) -> Option<usize> {
        let candidates = || (0..self.weights.len()).filter(&usable);
        let first = turn.next() % candidates().count().max(1);
        let in_turn = candidates().skip(first).chain(candidates().take(first));
        in_turn.min_by(|&a, &b| {
            let (a, b) = (load(a), load(b));
            // a.connections / a.weight against b.connections / b.weight, without division. The first
            // of equals wins, and the turn has put another one first each time.
            (a.connections * u64::from(b.weight)).cmp(&(b.connections * u64::from(a.weight)))
        })
    }
}

/// A count that all workers share. It wraps after 2^64 picks.
#[derive(Debug, Default)]
struct Turn(AtomicUsize);

impl Turn {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Relaxed)
    }
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

    /// A picker with its turns.
    struct Dealer(Picker, Turns);

    impl Dealer {
        fn pick(
            &self,
            load: impl Fn(usize) -> Load,
            tried: impl Fn(usize) -> bool,
            down: impl Fn(usize) -> bool,
            try_number: Try,
        ) -> Option<usize> {
            self.0.pick(&self.1, load, tried, down, try_number)
        }
    }

    fn round_robin(weights: &[u16]) -> Dealer {
        Dealer(Picker::new(Balance::RoundRobin, weights), Turns::default())
    }

    /// Over so many servers.
    fn least_connections(servers: usize) -> Dealer {
        let picker = Picker::new(Balance::LeastConnections, &vec![1; servers]);
        Dealer(picker, Turns::default())
    }

    fn load(connections: u64, weight: u16) -> Load {
        Load {
            connections,
            weight,
        }
    }

    #[test]
    fn round_robin_is_smooth_and_by_weight() {
        let balance = round_robin(&[50, 10, 10]);
        let picks: Vec<_> = (0..7)
            .map(|_| {
                balance
                    .pick(|_| load(0, 1), |_| false, |_| false, Try::First)
                    .unwrap()
            })
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn round_robin_passes_over_what_was_tried() {
        let balance = round_robin(&[1, 1, 1]);
        assert_eq!(
            balance.pick(|_| load(0, 1), |s| s == 0, |_| false, Try::First),
            Some(1)
        );
        assert_eq!(
            balance.pick(|_| load(0, 1), |_| true, |_| false, Try::First),
            None
        );
    }

    #[test]
    fn least_connections_is_relative_to_weight() {
        let balance = least_connections(3);
        let loads = [load(4, 1), load(7, 4), load(2, 1)];
        for _ in 0..4 {
            assert_eq!(
                balance.pick(|s| loads[s], |_| false, |_| false, Try::First),
                Some(1)
            );
        }
    }

    #[test]
    fn least_connections_takes_turns_among_equals() {
        let balance = least_connections(2);
        let picks: Vec<_> = (0..4)
            .map(|_| {
                balance
                    .pick(|_| load(3, 1), |_| false, |_| false, Try::First)
                    .unwrap()
            })
            .collect();
        assert_eq!(picks, [0, 1, 0, 1]);
    }

    fn picks<const N: usize>(balance: &Dealer, down: &[usize]) -> [usize; N] {
        let down = |server| down.contains(&server);
        let pick = |_| balance.pick(|_| load(0, 1), |_| false, down, Try::First);
        std::array::from_fn(pick).map(|server| server.expect("there is always one to try"))
    }

    #[test]
    fn the_turns_of_a_server_that_is_down_are_shared_by_weight() {
        let balance = round_robin(&[1, 1, 1]);
        assert_eq!(picks(&balance, &[0]), [1, 2, 1, 2]);
        // Without the second: 0 0 2 0 0, a round.
        let balance = round_robin(&[4, 2, 1]);
        assert_eq!(picks(&balance, &[1]), [0, 0, 2, 0, 0, 0, 0, 2, 0, 0]);
    }

    #[test]
    fn equals_share_what_a_server_that_is_down_leaves() {
        let balance = least_connections(3);
        assert_eq!(picks(&balance, &[0]), [1, 2, 1, 2]);
    }

    #[test]
    fn when_all_are_down_each_is_tried_in_turn() {
        let balance = round_robin(&[1, 1]);
        assert_eq!(picks(&balance, &[0, 1]), [0, 1, 0, 1]);
        let balance = least_connections(2);
        assert_eq!(picks(&balance, &[0, 1]), [0, 1, 0, 1]);
    }

    #[test]
    fn one_that_is_down_is_tried_when_the_others_were() {
        for balance in [round_robin(&[1, 1]), least_connections(2)] {
            let pick = |tried: fn(usize) -> bool| {
                balance.pick(|_| load(0, 1), tried, |s| s == 1, Try::Another)
            };
            assert_eq!(pick(|s| s == 0), Some(1));
            assert_eq!(pick(|_| true), None);
        }
    }

    /// How often each is picked in `rounds` rounds of turns.
    fn counts(weights: &[u16], down: impl Fn(usize) -> bool, rounds: usize) -> Vec<usize> {
        let balance = round_robin(weights);
        let mut counts = vec![0; weights.len()];
        let total: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
        for _ in 0..rounds * total {
            let server = balance.pick(|_| load(0, 1), |_| false, &down, Try::First);
            counts[server.expect("one is up")] += 1;
        }
        counts
    }

    #[test]
    fn many_that_are_down_leave_their_turns_to_all_others() {
        let counts = counts(&[1; 1000], |server| server < 500, 10);
        assert_eq!(counts.iter().sum::<usize>(), 10_000);
        assert!(counts[..500].iter().all(|&count| count == 0));
        let (least, most) = (counts[500..].iter().min(), counts[500..].iter().max());
        assert!(
            least >= Some(&15) && most <= Some(&30),
            "{least:?} to {most:?}"
        );
    }

    #[test]
    fn a_heavy_one_that_is_down_leaves_its_turns_by_weight() {
        let counts = counts(&[256, 1, 1, 2], |server| server == 0, 10);
        let unit = counts.iter().sum::<usize>() / 4;
        for (count, weight) in counts.into_iter().zip([0, 1, 1, 2]) {
            assert!(
                count.abs_diff(unit * weight) <= unit / 10,
                "{count} of {unit}"
            );
        }
    }

    #[test]
    fn retries_leave_the_turns_alone_and_are_shared() {
        for balance in [round_robin(&[1, 1, 1]), least_connections(3)] {
            let pick = |tried: Option<usize>, try_number| {
                let tried = |server| Some(server) == tried;
                let picked = balance.pick(|_| load(0, 1), tried, |_| false, try_number);
                picked.expect("there is one")
            };
            // The first one is dead.
            let (mut firsts, mut retries) = (Vec::new(), Vec::new());
            for _ in 0..12 {
                let first = pick(None, Try::First);
                firsts.push(first);
                if first == 0 {
                    retries.push(pick(Some(0), Try::Another));
                }
            }
            assert_eq!(firsts, [0, 1, 2].repeat(4));
            assert_eq!(retries, [1, 2, 1, 2]);
        }
    }

    #[test]
    fn the_last_one_may_go_down_meanwhile() {
        for balance in [round_robin(&[1, 1]), least_connections(2)] {
            let looks = std::cell::Cell::new(0);
            // Up at the first look, and at no other.
            let down = |_| looks.replace(looks.get() + 1) > 0;
            assert!(
                balance
                    .pick(|_| load(0, 1), |_| false, down, Try::First)
                    .is_some()
            );
        }
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
            let balance = round_robin(&weights);
            let mut counts = vec![0_usize; servers.len()];
            const ROUNDS: usize = 20;
            for _ in 0..ROUNDS * usize::from(up) {
                let down = |server: usize| !servers[server].1;
                let server = balance.pick(|_| load(0, 1), |_| false, down, Try::First);
                counts[server.expect("one is up")] += 1;
            }
            for (&(weight, up), count) in servers.iter().zip(counts) {
                let wanted = if up { ROUNDS * usize::from(weight) } else { 0 };
                // Where turns are dealt by weight, rounds may end between two of them.
                let close = count.abs_diff(wanted) <= wanted / 10;
                prop_assert!(close, "{} of {} of {:?}", count, wanted, servers);
            }
        }
    }
}
