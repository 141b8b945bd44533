//! Limits, backups and servers without weight.

use super::*;

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
    pool.server(0).set_up(false, now);
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
        pool.server(0).set_up(false, now);
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
        drained.server(1).set_up(false, now);
        assert_eq!(picks(&drained, 4, now), [1; 4], "{balance:?}");
        assert_eq!(drained.pick(&[1], now), None, "{balance:?}");
        assert_eq!(drained.server(0).connections(), 1, "what it has goes on");
        drop(held);
        let none = reloaded(&pool, &[0, 0], checked(balance));
        assert_eq!(none.take(&[], Ask::Any, 0, now).err(), Some(Unserved::Down));
    }
}
