//! Who is passed over, and whose turn it is then.

use super::*;

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
        pool.server(0).set_up(false, now);
        pool.note_attempt(0, Ok(Duration::ZERO), now);
        assert!(!pool.server(0).is_up());
        assert_eq!(picks(&pool, 2, now), [1, 1], "{balance:?}");
        assert_eq!(pool.pick(&[1], now), Some(0));
        pool.server(1).set_up(false, now);
        assert_eq!(
            pool.take(&[], Ask::Able, 0, now).err(),
            Some(Unserved::Down)
        );
        pool.server(0).set_up(true, now);
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
                pool.server(1).set_up(false, now);
                assert_eq!(pool.pick(&[], now), Some(1), "down, and not closed");
                pool.server(1).set_up(true, now);
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
        pool.server(0).set_up(false, now);
        assert_eq!(picks(&pool, 4, now), [1, 2, 1, 2]);
    }
    // Without the second: 0 0 2 0 0, a round.
    let pool = weighed(&[4, 2, 1], checked(Balance::RoundRobin));
    pool.server(1).set_up(false, now);
    assert_eq!(picks(&pool, 10, now), [0, 0, 2, 0, 0, 0, 0, 2, 0, 0]);
}

#[test]
fn many_that_are_down_leave_their_turns_to_all_others() {
    let (pool, now) = (weighed(&[1; 1000], checked(Balance::RoundRobin)), origin());
    for place in 0..500 {
        pool.server(place).set_up(false, now);
    }
    let (shares, _) = shares(&pool, 10_000, now);
    assert!(shares[..500].iter().all(|&count| count == 0));
    assert!(shares[500..].iter().all(|count| (15..=30).contains(count)));
}
