//! Which part of the connections each server gets.

use super::*;

#[test]
fn parts_are_as_the_weights_for_each_policy_over_one_two_and_eight_workers() {
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
        for workers in [1, 2, 8] {
            let pool = weighed(&weights, settings(balance));
            let (shares, holds) = shares_over(workers, &pool, rounds * 320, origin());
            assert_eq!(shares[4], 0, "{balance:?}");
            let square = chi_square(&without_zero(&shares), &parts);
            // Whoever is asked for beside others draws other numbers: rarer than once in a million.
            let most = if workers > 1 { most * 2.0 } else { most };
            assert!(
                square <= most,
                "{balance:?}, {workers}: {square} {shares:?}"
            );
            assert_eq!(pool.upstream().connections(), rounds as u64 * 320);
            drop(holds);
            assert_eq!(pool.upstream().connections(), 0);
        }
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
fn random_two_goes_by_connect_times_where_that_is_asked_for() {
    let settings = PoolSettings {
        compare_by: CompareBy::ConnectTime,
        ..settings(Balance::RandomTwo)
    };
    let (pool, now) = (weighed(&[1; 10], settings), origin());
    let counts = || {
        let mut counts = [0_usize; 10];
        picks(&pool, 9_000, now)
            .into_iter()
            .for_each(|place| counts[place] += 1);
        counts
    };
    // Nothing was measured: they are equals.
    let equal = chi_square(&counts(), &[1.0; 10]);
    // Nine degrees of freedom: 27.9 is exceeded once in a thousand; thrice as much never.
    assert!(equal < 3.0 * 27.9, "{equal}");
    for place in 0..10 {
        pool.note_attempt(place, Ok(Duration::from_millis(1 + place as u64)), now);
    }
    // Of the 90 pairs, 2 * 9 have the quickest one, and the slowest one never wins.
    let by_time = counts();
    let parts: Vec<_> = (0..9).map(|place| f64::from(9 - place)).collect();
    assert_eq!(by_time[9], 0);
    let square = chi_square(&by_time[..9], &parts);
    assert!(square < 3.0 * 26.1, "{square}: {by_time:?}");
    // Connections count as well: the quickest has 30 more than the others.
    let _held: Vec<_> = (0..30).map(|_| Taken::beside(pool.server(0))).collect();
    let loaded = counts();
    assert!(loaded[0] < by_time[0] / 4, "{loaded:?}");
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
