//! What grows and changes while connections run, and what a pick costs.

use super::*;

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
        pool.server(0).set_up(false, now);
        assert_eq!(has(1), 0);
        pool.server(0).set_up(true, now);
        // With a part p of its weight it has p of p + 2 turns; who is drawn is compared by weight as well.
        let parts: Vec<_> = [10, 20, 60, 110].into_iter().map(has).collect();
        assert!(parts[0] < 30 && parts[0] >= 1, "{balance:?} {parts:?}");
        assert!((30..300).contains(&parts[1]), "{balance:?} {parts:?}");
        assert!((300..650).contains(&parts[2]), "{balance:?} {parts:?}");
        assert!(parts[3].abs_diff(1000) < 100, "{balance:?} {parts:?}");
    }
    let (pool, now) = (weighed(&[4, 4], slow(Balance::LeastConnections)), origin());
    pool.server(0).set_up(false, now);
    let (_, first) = shares(&pool, 100, now);
    pool.server(0).set_up(true, now);
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
#[ignore = "it measures: cargo test --release -p proxy-core --lib cost_of_a_pick -- --ignored --nocapture"]
fn cost_of_a_pick() {
    for balance in ALL {
        for (what, down) in [("all up", 0), ("half down", 2)] {
            let costs = [10, 1000].map(|count| {
                let pool = weighed(&vec![1; count], checked(balance));
                for place in (0..count).filter(|place| down > 0 && place % down == 0) {
                    pool.server(place).set_up(false, origin());
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
