//! What a pool makes of what is known of its servers.

use std::net::SocketAddr;

use super::*;
use crate::upstream::address::ServerAddress;
use crate::upstream::policy::hash::mix;
use crate::upstream::rest::REST;

const ALL: [Balance; 5] = [
    Balance::RoundRobin,
    Balance::LeastConnections,
    Balance::RandomTwo,
    Balance::SourceHash,
    Balance::First,
];

fn upstream() -> Arc<Upstream> {
    Arc::new(Upstream::new("u".to_owned()))
}

fn servers(upstream: &Upstream, count: usize) -> Vec<Arc<Server>> {
    let server = |number: usize| {
        let [high, low] = (number as u16).to_be_bytes();
        let address = SocketAddr::from(([192, 0, high, low], 1));
        let to = ServerAddress::Tcp(address);
        Arc::new(Server::fixed(upstream, address.to_string(), to))
    };
    (0..count).map(server).collect()
}

fn settings(balance: Balance) -> PoolSettings {
    PoolSettings {
        balance,
        ..PoolSettings::default()
    }
}

fn checked(balance: Balance) -> PoolSettings {
    PoolSettings {
        checked: true,
        ..settings(balance)
    }
}

/// A pool of servers with these weights.
fn weighed(weights: &[u16], settings: PoolSettings) -> Pool {
    let upstream = upstream();
    let servers = servers(&upstream, weights.len()).into_iter();
    let members = servers.zip(weights);
    let members = members.map(|(server, &weight)| Member::new(server, weight));
    Pool::new(upstream, members.collect(), settings)
}

/// The same servers under other settings, as after a reload.
fn reloaded(pool: &Pool, weights: &[u16], settings: PoolSettings) -> Pool {
    let members = pool.servers().zip(weights);
    let members = members.map(|(server, &weight)| Member::new(server.clone(), weight));
    Pool::new(pool.upstream().clone(), members.collect(), settings)
}

fn with(pool: &Pool, change: impl Fn(usize, &mut Member)) -> Pool {
    let mut members = pool.members().to_vec();
    for (place, member) in members.iter_mut().enumerate() {
        change(place, member);
    }
    Pool::new(pool.upstream().clone(), members, *pool.settings())
}

#[expect(clippy::disallowed_methods, reason = "any moment will do")]
fn origin() -> Instant {
    Instant::now()
}

impl Pool {
    /// The server that a connection gets, or tries, and its place there.
    fn hold(&self, tried: &[usize], hash: u64, now: Instant) -> Option<(usize, Taken)> {
        let able = self.take(tried, Ask::Able, hash, now).ok();
        able.or_else(|| self.take(tried, Ask::Any, hash, now).ok())
    }

    /// The same for a connection that is over at once.
    pub(crate) fn pick(&self, tried: &[usize], now: Instant) -> Option<usize> {
        Some(self.hold(tried, 0, now)?.0)
    }
}

fn picks(pool: &Pool, count: usize, now: Instant) -> Vec<usize> {
    let pick = |_| pool.pick(&[], now).expect("there is one");
    (0..count).map(pick).collect()
}

/// How many of so many connections that go on each server gets.
fn shares(pool: &Pool, count: usize, now: Instant) -> (Vec<usize>, Vec<Taken>) {
    let mut shares = vec![0; pool.members().len()];
    let holds = (0..count).map(|number| {
        let (place, hold) = pool.hold(&[], mix(number as u64), now).expect("one is up");
        shares[place] += 1;
        hold
    });
    let holds = holds.collect();
    (shares, holds)
}

fn chi_square(counts: &[usize], parts: &[f64]) -> f64 {
    let (all, whole): (usize, f64) = (counts.iter().sum(), parts.iter().sum());
    let counts = counts.iter().zip(parts);
    let square = |(&count, part): (&usize, &f64)| {
        let wanted = all as f64 * part / whole;
        (count as f64 - wanted).powi(2) / wanted
    };
    counts.map(square).sum()
}

#[test]
fn without_checks_the_last_connect_says_whether_a_server_is_up() {
    let (pool, now) = (weighed(&[1, 1], settings(Balance::RoundRobin)), origin());
    pool.server(0).on_connect(false, now);
    assert!(!pool.server(0).is_up());
    pool.server(0).on_connect(true, now);
    assert!(pool.server(0).is_up());
}

#[test]
fn without_checks_one_that_failed_gets_one_try_after_each_rest() {
    for balance in ALL {
        let (pool, now) = (weighed(&[1, 1], settings(balance)), origin());
        pool.server(0).on_connect(false, now);
        let tries = |now| {
            let picks = (0..20).map(|number| pool.hold(&[], mix(number), now));
            picks
                .filter(|picked| picked.as_ref().is_some_and(|(place, _)| *place == 0))
                .count()
        };
        assert_eq!(tries(now), 0, "{balance:?}");
        assert_eq!(tries(now + REST), 1, "{balance:?}");
        // What came of it is not known yet.
        assert_eq!(tries(now + REST), 0, "{balance:?}");
        pool.server(0).on_connect(false, now + REST);
        assert_eq!(tries(now + REST), 0, "{balance:?}");
        assert_eq!(pool.pick(&[1], now + REST), Some(0), "nothing else is left");
        pool.server(0).on_connect(true, now + REST);
        assert!(tries(now + REST) > 3, "{balance:?}");
    }
}

#[test]
fn without_checks_all_that_failed_are_tried_in_turn() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let (pool, now) = (weighed(&[1, 1], settings(balance)), origin());
        for place in [0, 1] {
            pool.server(place).on_connect(false, now);
        }
        assert_eq!(picks(&pool, 4, now), [0, 1, 0, 1]);
    }
}

#[test]
fn a_retry_leaves_the_turns_alone() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let (pool, now) = (weighed(&[1, 1], settings(balance)), origin());
        let first: [_; 6] = std::array::from_fn(|_| {
            let failed = pool.pick(&[], now).expect("there is one");
            assert_eq!(pool.pick(&[failed], now), Some(1 - failed));
            assert_eq!(pool.pick(&[0, 1], now), None);
            failed
        });
        assert_eq!(first, [0, 1, 0, 1, 0, 1]);
    }
}

#[test]
fn retries_are_shared() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let (pool, now) = (weighed(&[1, 1, 1], settings(balance)), origin());
        let (mut firsts, mut retries) = (Vec::new(), Vec::new());
        for _ in 0..12 {
            let first = pool.pick(&[], now).expect("there is one");
            firsts.push(first);
            if first == 0 {
                retries.extend(pool.pick(&[0], now));
            }
        }
        assert_eq!(firsts, [0, 1, 2].repeat(4));
        assert_eq!(retries, [1, 2, 1, 2]);
    }
}

#[test]
fn new_addresses_end_the_rest_of_a_name() {
    let upstream = upstream();
    let named = Server::named(&upstream, "a:1".to_owned());
    let other = servers(&upstream, 1).remove(0);
    let members = [Arc::new(named), other].map(|server| Member::new(server, 1));
    let pool = Pool::new(upstream, members.into(), settings(Balance::RoundRobin));
    let now = origin();
    pool.server(0).on_connect(false, now);
    let later = now + Duration::from_millis(1);
    assert_eq!(picks(&pool, 2, later), [1, 1]);
    let addresses = [([192, 0, 2, 1], 1).into()];
    pool.server(0).set_addresses(&addresses);
    assert!(picks(&pool, 2, later).contains(&0));
    assert_eq!(picks(&pool, 2, later), [1, 1], "one try, as after any rest");
    pool.server(0).set_addresses(&addresses);
    assert_eq!(picks(&pool, 2, later), [1, 1], "nothing is new");
}

#[test]
fn with_checks_they_alone_say_it_and_who_is_down_is_passed_over() {
    for balance in ALL {
        let (pool, now) = (weighed(&[1, 1], checked(balance)), origin());
        pool.note_attempt(0, Err(crate::metrics::ConnectFailure::Refused.into()), now);
        assert!(pool.server(0).is_up());
        pool.server(0).set_up(false);
        pool.note_attempt(0, Ok(Duration::ZERO), now);
        assert!(!pool.server(0).is_up());
        assert_eq!(picks(&pool, 2, now), [1, 1], "{balance:?}");
        assert_eq!(pool.pick(&[1], now), Some(0));
        pool.server(1).set_up(false);
        assert_eq!(
            pool.take(&[], Ask::Able, 0, now).err(),
            Some(Unserved::Down)
        );
        pool.server(0).set_up(true);
        assert_eq!(picks(&pool, 2, now), [0, 0], "{balance:?}");
    }
}

#[test]
fn one_that_drains_gets_none_whatever_becomes_of_the_others() {
    for balance in ALL {
        for checked in [false, true] {
            let settings = PoolSettings {
                checked,
                ..settings(balance)
            };
            let (pool, now) = (weighed(&[1, 1], settings), origin());
            for hold in [Hold::Draining, Hold::Maintenance] {
                pool.server(0).set_hold(hold, true, now);
                assert_eq!(picks(&pool, 4, now), [1; 4], "{balance:?}");
                assert_eq!(pool.pick(&[1], now), None);
                pool.server(1).set_up(false);
                assert_eq!(pool.pick(&[], now), Some(1), "down, and not closed");
                pool.server(1).set_up(true);
                pool.server(0).set_hold(hold, false, now);
            }
            let picked = (0..20).map(|number| pool.hold(&[], mix(number), now));
            let mut picked = picked.flatten();
            assert!(picked.any(|(place, _)| place == 0), "{balance:?}");
        }
    }
}

#[test]
fn turns_and_rests_outlive_a_change_of_the_settings() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let (first, now) = (weighed(&[1, 1], settings(balance)), origin());
        assert_eq!(picks(&first, 1, now), [0]);
        let second = reloaded(&first, &[1, 1], settings(balance));
        assert_eq!(picks(&second, 1, now), [1], "the next turn");
        first.server(1).on_connect(false, now);
        assert_eq!(picks(&second, 4, now), [0; 4], "it rests in both");
    }
}

#[test]
fn turns_that_a_server_leaves_are_shared_by_weight() {
    let now = origin();
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let pool = weighed(&[1, 1, 1], checked(balance));
        pool.server(0).set_up(false);
        assert_eq!(picks(&pool, 4, now), [1, 2, 1, 2]);
    }
    // Without the second: 0 0 2 0 0, a round.
    let pool = weighed(&[4, 2, 1], checked(Balance::RoundRobin));
    pool.server(1).set_up(false);
    assert_eq!(picks(&pool, 10, now), [0, 0, 2, 0, 0, 0, 0, 2, 0, 0]);
}

#[test]
fn many_that_are_down_leave_their_turns_to_all_others() {
    let (pool, now) = (weighed(&[1; 1000], checked(Balance::RoundRobin)), origin());
    for place in 0..500 {
        pool.server(place).set_up(false);
    }
    let (shares, _) = shares(&pool, 10_000, now);
    assert!(shares[..500].iter().all(|&count| count == 0));
    assert!(shares[500..].iter().all(|count| (15..=30).contains(count)));
}

#[test]
fn parts_are_as_the_weights_for_each_policy() {
    let weights = [1, 2, 4, 256, 0, 57];
    let parts = weights.map(f64::from);
    let without_zero = |of: &[usize]| [&of[..4], &of[5..]].concat();
    let parts = [&parts[..4], &parts[5..]].concat();
    for (balance, rounds, most) in [
        // Whole rounds: to the connection.
        (Balance::RoundRobin, 10, 0.0),
        (Balance::LeastConnections, 10, 0.0),
        // Four degrees of freedom: 18.5 is exceeded once in a thousand.
        (Balance::RandomTwo, 30, 18.5),
        // The table's parts are not quite the weights.
        (Balance::SourceHash, 30, 25.0),
    ] {
        let pool = weighed(&weights, settings(balance));
        let (shares, holds) = shares(&pool, rounds * 320, origin());
        assert_eq!(shares[4], 0, "{balance:?}");
        let square = chi_square(&without_zero(&shares), &parts);
        assert!(square <= most, "{balance:?}: {square} {shares:?}");
        assert_eq!(pool.upstream().connections(), rounds as u64 * 320);
        drop(holds);
        assert_eq!(pool.upstream().connections(), 0);
    }
}

#[test]
fn random_two_takes_the_better_one_as_often_as_two_are_drawn() {
    let (pool, now) = (weighed(&[1; 10], settings(Balance::RandomTwo)), origin());
    // Each has one more than the one before, and each pick is over at once.
    let _held: Vec<_> = (0..10)
        .flat_map(|place| std::iter::repeat_n(place, place * 5))
        .map(|place| Taken::beside(pool.server(place)))
        .collect();
    let mut counts = [0; 10];
    for place in picks(&pool, 45_000, now) {
        counts[place] += 1;
    }
    // Of the 90 pairs, 2 * 9 have the emptiest one, and the fullest one never wins.
    let parts: Vec<_> = (0..9).map(|place| f64::from(9 - place)).collect();
    assert_eq!(counts[9], 0);
    let square = chi_square(&counts[..9], &parts);
    // Eight degrees of freedom: 26.1 is exceeded once in a thousand; thrice as much never.
    assert!(square < 3.0 * 26.1, "{square}: {counts:?}");
}

#[test]
fn least_connections_is_exact_whoever_connects_meanwhile() {
    for workers in [1, 2, 8] {
        let weights: Vec<u16> = (0..1000).map(|place| place % 4 + 1).collect();
        let pool = weighed(&weights, settings(Balance::LeastConnections));
        let now = origin();
        const ROUNDS: usize = 4;
        let each = ROUNDS * 2500 / workers;
        let held: Vec<Vec<Taken>> = std::thread::scope(|scope| {
            let worker = || {
                let mut held = Vec::new();
                for number in 0..each {
                    // Others come and go in between.
                    let (_, passing) = pool.hold(&[], 0, now).expect("all are up");
                    if number % 3 == 0 {
                        drop(passing);
                        held.push(pool.hold(&[], 0, now).expect("all are up").1);
                    } else {
                        held.push(passing);
                    }
                }
                held
            };
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
            let held = workers.into_iter().map(|worker| worker.join());
            held.map(|held| held.expect("it picks")).collect()
        });
        assert_eq!(pool.upstream().connections() as usize, ROUNDS * 2500);
        // Who has most for its weight has what it would have without it.
        for (place, &weight) in weights.iter().enumerate() {
            let has = pool.server(place).connections();
            let fair = ROUNDS as u64 * u64::from(weight);
            assert!(has.abs_diff(fair) <= 1, "{place}: {has} of {fair}");
        }
        drop(held);
        assert_eq!(pool.upstream().connections(), 0);
    }
}

#[test]
fn limits_are_exact_over_workers_under_each_policy() {
    for balance in ALL {
        let pool = with(
            &weighed(&[1, 3, 256, 2], settings(balance)),
            |place, member| {
                member.max_connections = Some([10, 20, 5, 40][place]);
            },
        );
        let now = origin();
        let held: Vec<Vec<Taken>> = std::thread::scope(|scope| {
            let worker = |number: u64| {
                let pool = &pool;
                move || {
                    let keys = (0..100).map(|key| mix(number * 100 + key));
                    let held = keys.filter_map(|key| pool.take(&[], Ask::Able, key, now).ok());
                    held.map(|(_, hold)| hold).collect()
                }
            };
            let workers: Vec<_> = (0..8).map(|number| scope.spawn(worker(number))).collect();
            let held = workers.into_iter().map(|worker| worker.join());
            held.map(|held| held.expect("it picks")).collect()
        });
        let has: Vec<_> = pool.servers().map(|server| server.connections()).collect();
        assert_eq!(has, [10, 20, 5, 40], "{balance:?}");
        assert!(pool.members().iter().all(Member::is_full));
        for ask in [Ask::Able, Ask::Any] {
            let unserved = pool.take(&[], ask, 0, now).err();
            assert_eq!(unserved, Some(Unserved::Full), "{balance:?}");
        }
        drop(held);
        assert!(pool.pick(&[], now).is_some());
    }
}

#[test]
fn an_upstream_has_a_limit_of_its_own() {
    for balance in ALL {
        let limited = PoolSettings {
            max_connections: Some(3),
            ..settings(balance)
        };
        let (pool, now) = (weighed(&[1, 1], limited), origin());
        let mut held: Vec<_> = (0..3).map(|_| pool.hold(&[], 0, now)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(!pool.can_serve(now));
        let unserved = pool.take(&[], Ask::Any, 0, now).err();
        assert_eq!(unserved, Some(Unserved::Full));
        held.pop();
        assert!(pool.can_serve(now) && pool.hold(&[], 0, now).is_some());
        // A reload that lowers it ends nobody, and lets nobody in until there is room.
        let lower = reloaded(
            &pool,
            &[1, 1],
            PoolSettings {
                max_connections: Some(1),
                ..limited
            },
        );
        assert!(lower.hold(&[], 0, now).is_none());
        held.pop();
        assert!(lower.hold(&[], 0, now).is_none());
        held.pop();
        assert!(lower.hold(&[], 0, now).is_some());
    }
}

#[test]
fn first_fills_one_and_then_the_next() {
    let pool = with(&weighed(&[1; 3], checked(Balance::First)), |_, member| {
        member.max_connections = Some(2);
    });
    let now = origin();
    let mut held: Vec<_> = (0..6)
        .map(|_| pool.hold(&[], 0, now).expect("room"))
        .collect();
    let places: Vec<_> = held.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [0, 0, 1, 1, 2, 2]);
    held.remove(3);
    held.remove(0);
    assert_eq!(pool.pick(&[], now), Some(0));
    pool.server(0).set_up(false);
    assert_eq!(pool.pick(&[], now), Some(1));
}

#[test]
fn backups_serve_only_while_no_other_server_can() {
    for balance in ALL {
        let pool = with(&weighed(&[1; 4], checked(balance)), |place, member| {
            member.backup = place >= 2;
            member.max_connections = (place == 1).then_some(1);
        });
        let now = origin();
        let served = |count: usize| {
            let keys = (0..count).map(|key| pool.hold(&[], mix(key as u64), now));
            let mut places: Vec<_> = keys.map(|picked| picked.expect("one is up").0).collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        assert!(served(40).iter().all(|&place| place < 2), "{balance:?}");
        pool.server(0).set_up(false);
        assert_eq!(served(40), [1], "{balance:?}");
        let last = pool.hold(&[], 0, now);
        let backups = if balance == Balance::First {
            vec![2]
        } else {
            vec![2, 3]
        };
        assert_eq!(served(40), backups, "{balance:?}");
        drop(last);
        assert_eq!(served(40), [1], "{balance:?}");
    }
}

#[test]
fn without_weight_a_server_gets_nothing_even_if_all_others_are_down() {
    for balance in ALL {
        let (pool, now) = (weighed(&[1, 1], checked(balance)), origin());
        let held = Taken::beside(pool.server(0));
        let drained = reloaded(&pool, &[0, 1], checked(balance));
        assert_eq!(picks(&drained, 4, now), [1; 4], "{balance:?}");
        drained.server(1).set_up(false);
        assert_eq!(picks(&drained, 4, now), [1; 4], "{balance:?}");
        assert_eq!(drained.pick(&[1], now), None, "{balance:?}");
        assert_eq!(drained.server(0).connections(), 1, "what it has goes on");
        drop(held);
        let none = reloaded(&pool, &[0, 0], checked(balance));
        assert_eq!(none.take(&[], Ask::Any, 0, now).err(), Some(Unserved::Down));
    }
}

#[test]
fn a_server_that_comes_gets_more_and_more_up_to_its_weight() {
    let slow = |balance| PoolSettings {
        slow_start: Some(Duration::from_secs(100)),
        ..checked(balance)
    };
    for balance in [Balance::RoundRobin, Balance::RandomTwo] {
        let (pool, now) = (weighed(&[1, 1, 1], slow(balance)), origin());
        let has = |seconds| {
            let now = now + Duration::from_secs(seconds);
            let placed = picks(&pool, 3000, now);
            placed.into_iter().filter(|&place| place == 0).count()
        };
        assert!(has(0).abs_diff(1000) < 100, "at the start all are there");
        pool.server(0).set_up(false);
        assert_eq!(has(1), 0);
        pool.server(0).set_up(true);
        // With a part p of its weight it has p of p + 2 turns; who is drawn is compared by weight as well.
        let parts: Vec<_> = [10, 20, 60, 110].into_iter().map(has).collect();
        assert!(parts[0] < 30 && parts[0] >= 1, "{balance:?} {parts:?}");
        assert!((30..300).contains(&parts[1]), "{balance:?} {parts:?}");
        assert!((300..650).contains(&parts[2]), "{balance:?} {parts:?}");
        assert!(parts[3].abs_diff(1000) < 100, "{balance:?} {parts:?}");
    }
    let (pool, now) = (weighed(&[4, 4], slow(Balance::LeastConnections)), origin());
    pool.server(0).set_up(false);
    let (_, first) = shares(&pool, 100, now);
    pool.server(0).set_up(true);
    let mut held = vec![first];
    // At a quarter of its time it has a quarter of the other's, and at the end as many.
    for (seconds, more, wanted) in [(0, 1, 0), (25, 40, 28), (50, 60, 67), (101, 100, 150)] {
        let now = now + Duration::from_secs(seconds);
        held.push(shares(&pool, more, now).1);
        let has = pool.server(0).connections();
        assert!(has.abs_diff(wanted) <= 2, "{seconds}: {has}");
    }
}

#[test]
fn a_reload_in_the_middle_loses_no_turn_and_no_count() {
    let now = origin();
    let first = weighed(&[1, 2, 3, 4], settings(Balance::RoundRobin));
    let mut held: Vec<Taken> = shares(&first, 10, now).1;
    let all = [
        (Balance::LeastConnections, [1, 1, 1, 1]),
        (Balance::First, [1, 2, 3, 4]),
        (Balance::LeastConnections, [4, 3, 2, 1]),
        (Balance::RandomTwo, [1, 1, 1, 1]),
        (Balance::SourceHash, [1, 1, 256, 0]),
        (Balance::LeastConnections, [1, 1, 1, 1]),
    ];
    let mut before = first;
    for (balance, weights) in all {
        let pool = reloaded(&before, &weights, settings(balance));
        // Workers that have not heard of it go on with what was in force before.
        std::thread::scope(|scope| {
            let one = |pool| move || shares(pool, 100, now).1;
            let workers = [&before, &pool, &before, &pool].map(|pool| scope.spawn(one(pool)));
            held.extend(
                workers
                    .into_iter()
                    .flat_map(|worker| worker.join().expect("it picks")),
            );
        });
        let counted: u64 = pool.servers().map(|server| server.connections()).sum();
        assert_eq!(
            (counted, pool.upstream().connections()),
            (held.len() as u64, held.len() as u64)
        );
        before = pool;
    }
    // What came meanwhile is known: they are made even.
    let most = before
        .servers()
        .map(|server| server.connections())
        .max()
        .expect("four");
    let missing = 4 * most - held.len() as u64;
    held.extend(shares(&before, missing as usize, now).1);
    assert!(before.servers().all(|server| server.connections() == most));
    held.clear();
    assert!(before.servers().all(|server| server.connections() == 0));
}

#[test]
fn a_thousand_servers_cost_little_more_than_ten() {
    // No assertion: a loaded machine would break it. `--nocapture` shows it.
    for balance in ALL {
        for (what, down) in [("all up", 0), ("half down", 2)] {
            let costs = [10, 1000].map(|count| {
                let pool = weighed(&vec![1; count], checked(balance));
                for place in (0..count).filter(|place| down > 0 && place % down == 0) {
                    pool.server(place).set_up(false);
                }
                let now = origin();
                let held = shares(&pool, 2 * count, now);
                let begun = origin();
                const PICKS: u32 = 4000;
                for key in 0..PICKS {
                    drop(pool.take(&[], Ask::Able, mix(key.into()), now));
                }
                let cost = begun.elapsed() / PICKS;
                drop(held);
                cost
            });
            println!(
                "{balance:?}, {what}: {:?} with 10, {:?} with 1,000",
                costs[0], costs[1]
            );
        }
    }
}
