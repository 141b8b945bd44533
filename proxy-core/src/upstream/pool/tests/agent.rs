//! What an agent says of a server.

use super::*;
use crate::upstream::agent::{Admission, AgentReport};

fn says(pool: &Pool, place: usize, percent: u16, now: Instant) {
    let report = AgentReport {
        percent: Some(percent),
        ..AgentReport::default()
    };
    pool.server(place).on_agent(&report, now);
}

fn is_up(up: bool) -> AgentReport {
    AgentReport {
        is_up: Some(up),
        line: format!("up is {up}"),
        ..AgentReport::default()
    }
}

fn admits(admission: Admission) -> AgentReport {
    AgentReport {
        admission: Some(admission),
        ..AgentReport::default()
    }
}

#[test]
fn parts_are_as_the_shares_of_the_weights_for_each_policy() {
    let now = origin();
    // What would be more than the highest weight is that one.
    for (weights, percents, parts) in [
        ([4, 4, 9, 2], [50, 25, 0, 300], [2.0, 1.0, 0.0, 6.0]),
        ([1, 8, 7, 128], [100, 50, 0, 25_600], [1.0, 4.0, 0.0, 256.0]),
    ] {
        for (balance, most) in [
            (Balance::RoundRobin, 9.0),
            (Balance::LeastConnections, 1.0),
            // Two degrees of freedom: 13.8 is exceeded once in a thousand.
            (Balance::RandomTwo, 3.0 * 13.8),
            (Balance::SourceHash, 3.0 * 13.8),
        ] {
            let pool = weighed(&weights, settings(balance));
            for (place, &percent) in percents.iter().enumerate() {
                says(&pool, place, percent, now);
            }
            let (shares, _held) = shares(&pool, 9 * 300, now);
            assert_eq!(shares[2], 0, "{balance:?}");
            let open = |of: &[f64]| [&of[..2], &of[3..]].concat();
            let counts = [shares[0], shares[1], shares[3]];
            let square = chi_square(&counts, &open(&parts));
            assert!(square <= most, "{balance:?}: {square} {shares:?}");
            let shown = [0, 1, 2, 3].map(|place| pool.weight_in_force(place, now));
            assert_eq!(shown, parts);
        }
    }
}

#[test]
fn all_have_their_parts_again_when_agents_say_so_or_are_no_more() {
    let now = origin();
    for balance in ALL {
        let pool = weighed(&[1, 1], checked(balance));
        says(&pool, 0, 400, now);
        says(&pool, 0, 100, now);
        assert!(!pool.server(0).heeds_agent());
        says(&pool, 1, 0, now);
        assert_eq!(picks(&pool, 20, now), [0; 20], "{balance:?}");
        assert_eq!(pool.pick(&[0], now), None, "whatever becomes of the others");
        for said in [is_up(false), admits(Admission::Maintenance)] {
            assert!(pool.server(1).on_agent(&said, now));
            assert!(!pool.server(1).on_agent(&said, now), "said already");
        }
        assert!(pool.server(1).heeds_agent());
        pool.server(1).forget_agent(now);
        assert!(!pool.server(1).heeds_agent());
        assert_eq!(pool.state(1, now), ServerState::Up);
        let (shares, _) = shares(&pool, 100, now);
        let wanted = if balance == Balance::First { 0 } else { 30 };
        assert!(shares[1] >= wanted, "{balance:?} {shares:?}");
    }
}

#[test]
fn only_the_agent_takes_back_what_it_said_and_both_must_say_that_it_is_up() {
    let now = origin();
    for balance in ALL {
        let pool = weighed(&[1, 1], checked(balance));
        let server = pool.server(0);
        server.on_agent(&is_up(false), now);
        server.set_up(true, now);
        assert!(!server.is_up() && &*server.agent_line() == "up is false");
        assert_eq!(pool.state(0, now), ServerState::Down);
        assert_eq!(server.since(Hold::AgentDown), Some(now));
        assert_eq!(picks(&pool, 4, now), [1; 4], "{balance:?}");
        // It was asked, so it is not the way there that fails.
        pool.server(1).set_up(false, now);
        assert_eq!(picks(&pool, 2, now), [1; 2], "{balance:?}");
        assert_eq!(pool.pick(&[1], now), None);
        server.set_up(false, now);
        server.on_agent(&is_up(true), now);
        assert_eq!(
            (server.is_up(), pool.state(0, now)),
            (false, ServerState::Down)
        );
        server.set_up(true, now);
        assert_eq!(picks(&pool, 2, now), [0; 2], "{balance:?}");
    }
}

#[test]
fn who_drains_by_its_agent_or_by_somebody_else_stays_so_until_both_are_ready() {
    let (pool, now) = (weighed(&[1, 1], settings(Balance::RoundRobin)), origin());
    let server = pool.server(0);
    server.on_agent(&admits(Admission::Drain), now);
    assert_eq!(pool.state(0, now), ServerState::Draining);
    assert!(server.is_up() && picks(&pool, 2, now) == [1; 2]);
    server.set_hold(Hold::Draining, true, now);
    server.on_agent(&admits(Admission::Maintenance), now);
    assert_eq!(pool.state(0, now), ServerState::Maintenance);
    server.on_agent(&admits(Admission::Ready), now);
    assert_eq!(pool.state(0, now), ServerState::Draining);
    server.set_hold(Hold::Draining, false, now);
    assert_eq!(pool.state(0, now), ServerState::Up);
}

#[test]
fn an_agent_s_limit_stands_for_that_of_the_configuration() {
    let now = origin();
    for balance in ALL {
        let pool = with(&weighed(&[1, 1], settings(balance)), |_, member| {
            member.max_connections = Some(5);
        });
        let said = |max| AgentReport {
            max_connections: Some(max),
            ..AgentReport::default()
        };
        pool.server(0).on_agent(&said(2), now);
        let take = |key| pool.take(&[], Ask::Able, mix(key), now).ok();
        let mut held: Vec<_> = (0..100).filter_map(take).collect();
        assert_eq!(held.len(), 7, "{balance:?}");
        pool.server(1).on_agent(&said(9), now);
        held.extend((0..100).filter_map(take));
        assert_eq!(held.len(), 11, "{balance:?}");
        pool.server(0).on_agent(&said(0), now);
        held.extend((0..100).filter_map(take));
        assert!(held.len() > 100, "{balance:?}");
    }
}

#[test]
fn the_same_clients_move_with_a_share_and_come_back() {
    let (pool, now) = (weighed(&[1; 4], settings(Balance::SourceHash)), origin());
    let of = |pool: &Pool| -> Vec<usize> {
        let keys = (0..4000).map(mix);
        keys.map(|key| pool.hold(&[], key, now).expect("all are up").0)
            .collect()
    };
    let before = of(&pool);
    says(&pool, 0, 50, now);
    let halved = of(&pool);
    let moved = before.iter().zip(&halved).filter(|(was, is)| was != is);
    assert!(moved.clone().all(|(was, _)| *was == 0));
    // Of a quarter a half goes, and a part of that falls to it again.
    let moved = moved.count();
    assert!((380..500).contains(&moved), "{moved}");
    says(&pool, 0, 100, now);
    assert_eq!(of(&pool), before);
}
