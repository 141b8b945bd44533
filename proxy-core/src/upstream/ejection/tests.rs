//! A pool that ejects servers, in virtual time.

use std::sync::Arc;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::jury::PANIC_COUNT_INTERVAL;
use super::slow::CONNECTS_COMPARED_MIN;
use super::{EjectionCause, EjectionSettings};
use crate::epoch::origin;
use crate::metrics::ConnectFailure;
use crate::upstream::Upstream;
use crate::upstream::outage::Fault;
use crate::upstream::policy::Balance;
use crate::upstream::pool::{Member, Pool, PoolSettings};
use crate::upstream::server::Server;
use crate::upstream::state::{Hold, ServerState};

const SECOND: Duration = Duration::from_secs(1);

/// What the configuration has where nothing is written.
fn defaults() -> EjectionSettings {
    EjectionSettings {
        consecutive_failures: count(5),
        early: Some(SECOND),
        slow_factor: count(10),
        interval: 10 * SECOND,
        base: 30 * SECOND,
        max: 300 * SECOND,
        largest_share: 10,
        panic_threshold: 50,
    }
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not zero")
}

/// So many servers that checks say are up.
fn pool(servers: usize, settings: EjectionSettings) -> Pool {
    let upstream = Arc::new(Upstream::new("u".to_owned()));
    let members = (0..servers).map(|place| {
        let server = Server::named(&upstream, format!("s{place}:1"));
        Member::new(Arc::new(server), 1)
    });
    let members = members.collect();
    let pool_settings = PoolSettings {
        balance: Balance::RoundRobin,
        connect_timeout: SECOND,
        checked: true,
        ..PoolSettings::default()
    };
    Pool::new(upstream, members, pool_settings).with_ejection(Some(settings))
}

fn refused() -> Result<Duration, Fault> {
    Err(ConnectFailure::Refused.into())
}

fn fail(pool: &Pool, place: usize, times: u32, now: Instant) {
    for _ in 0..times {
        pool.note_attempt(place, refused(), now);
    }
}

fn is_ejected(pool: &Pool, place: usize, now: Instant) -> bool {
    pool.state(place, now) == ServerState::Ejected
}

fn ejected(pool: &Pool, now: Instant) -> usize {
    let places = 0..pool.members().len();
    places.filter(|&place| is_ejected(pool, place, now)).count()
}

#[test]
fn five_failures_in_a_row_eject_for_thirty_seconds_and_the_second_time_for_sixty() {
    let (pool, now) = (pool(4, defaults()), origin());
    fail(&pool, 0, 4, now);
    pool.note_attempt(0, Ok(SECOND), now);
    fail(&pool, 0, 4, now);
    assert!(!is_ejected(&pool, 0, now), "one that worked begins again");
    fail(&pool, 0, 1, now);
    assert!(is_ejected(&pool, 0, now));
    assert!((0..8).all(|_| pool.pick(&[], now) != Some(0)));
    assert_eq!(pool.pick(&[1, 2, 3], now), Some(0), "nothing else is left");
    let nearly = now + 30 * SECOND - Duration::from_nanos(1);
    assert!(is_ejected(&pool, 0, nearly));
    let over = now + 30 * SECOND;
    assert!(!is_ejected(&pool, 0, over));
    assert!((0..4).any(|_| pool.pick(&[], over) == Some(0)));
    fail(&pool, 0, 4, over);
    assert!(!is_ejected(&pool, 0, over), "it began again");
    fail(&pool, 0, 1, over);
    assert!(is_ejected(
        &pool,
        0,
        over + 60 * SECOND - Duration::from_nanos(1)
    ));
    assert!(!is_ejected(&pool, 0, over + 60 * SECOND));
    assert_eq!(pool.server(0).ejections(EjectionCause::ConnectFailures), 2);
}

#[test]
fn ejections_last_no_longer_than_the_cap_and_are_forgotten() {
    let (pool, mut now) = (pool(4, defaults()), origin());
    let mut lengths = Vec::new();
    for _ in 0..12 {
        fail(&pool, 0, 5, now);
        let (_, ends_at) = pool.server(0).ejection().expect("it was ejected");
        lengths.push((ends_at - now).as_secs());
        now = ends_at;
    }
    assert_eq!(
        lengths,
        [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
    );
    // Ten seconds each.
    now += 10 * 10 * SECOND;
    fail(&pool, 0, 5, now);
    let (_, ends_at) = pool.server(0).ejection().expect("it was ejected");
    assert_eq!(ends_at - now, 3 * 30 * SECOND);
}

#[test]
fn a_passing_check_ends_an_ejection() {
    let (pool, now) = (pool(4, defaults()), origin());
    fail(&pool, 0, 5, now);
    pool.server(0).on_check_passed(now + SECOND);
    assert_eq!(pool.state(0, now + SECOND), ServerState::Up);
    // The others begin again, too.
    fail(&pool, 0, 4, now + SECOND);
    assert!(!is_ejected(&pool, 0, now + SECOND));
    fail(&pool, 0, 1, now + SECOND);
    assert!(
        is_ejected(&pool, 0, now + 60 * SECOND),
        "it is the second one"
    );
}

#[test]
fn no_more_are_ejected_than_the_largest_share_and_one_always_may_be() {
    for (servers, share, most) in [(4, 10, 1), (20, 10, 2), (20, 99, 19), (3, 0, 1), (1, 10, 1)] {
        let settings = EjectionSettings {
            largest_share: share,
            panic_threshold: 0,
            ..defaults()
        };
        let (pool, now) = (pool(servers, settings), origin());
        (0..servers).for_each(|place| fail(&pool, place, 5, now));
        assert_eq!(ejected(&pool, now), most, "{share}% of {servers}");
        let spared = pool
            .servers()
            .map(|one| one.spared_ejections(EjectionCause::ConnectFailures));
        assert_eq!(spared.sum::<u64>() as usize, servers - most);
        // There is room for others when their time is over.
        let over = now + 30 * SECOND;
        (0..servers)
            .rev()
            .for_each(|place| fail(&pool, place, 5, over));
        assert_eq!(ejected(&pool, over), most);
        assert!(is_ejected(&pool, servers - 1, over));
    }
}

#[test]
fn in_a_panic_who_is_ejected_is_tried_like_the_others() {
    let (pool, now) = (pool(4, defaults()), origin());
    fail(&pool, 0, 5, now);
    let picks_it = |now| (0..8).filter(|_| pool.pick(&[], now) == Some(0)).count();
    assert_eq!(picks_it(now), 0);
    pool.server(1).set_up(false, now);
    let later = now + PANIC_COUNT_INTERVAL;
    assert_eq!(
        (picks_it(later), pool.is_panic(later)),
        (0, false),
        "half are available"
    );
    pool.server(2).set_up(false, now);
    let later = later + PANIC_COUNT_INTERVAL;
    assert_eq!((picks_it(later), pool.is_panic(later)), (4, true));
    assert!(is_ejected(&pool, 0, later), "it is shown as such");
    pool.server(2).set_up(true, now);
    let later = later + PANIC_COUNT_INTERVAL;
    assert_eq!((picks_it(later), pool.is_panic(later)), (0, false));
}

#[test]
fn a_server_that_takes_connections_and_drops_them_is_ejected() {
    let (pool, now) = (pool(4, defaults()), origin());
    let (lie, word) = (false, true);
    for said in [lie, lie, lie, lie, word, lie, lie, lie, lie] {
        // The connects work, and a refusal is another matter.
        pool.note_attempt(0, Ok(SECOND / 1000), now);
        pool.judge_first_word(0, said, now);
        pool.note_attempt(0, refused(), now);
        assert!(!is_ejected(&pool, 0, now));
    }
    // It took the connection and reset it before anybody looked.
    pool.note_attempt(0, Err(ConnectFailure::Reset.into()), now);
    assert!(is_ejected(&pool, 0, now));
    assert_eq!(
        pool.server(0).ejection().map(|(cause, _)| cause),
        Some(EjectionCause::EarlyEnds)
    );
}

#[test]
fn what_this_machine_lacks_ejects_nobody() {
    let (pool, now) = (pool(4, defaults()), origin());
    for _ in 0..100 {
        pool.note_attempt(0, Err(ConnectFailure::Local.into()), now);
    }
    assert_eq!(ejected(&pool, now), 0);
}

#[test]
fn a_server_whose_connects_take_much_longer_is_ejected_after_an_interval() {
    let (pool, now) = (pool(4, defaults()), origin());
    let connects = |times: [u64; 4], now| {
        for _ in 0..CONNECTS_COMPARED_MIN {
            for (place, ms) in times.into_iter().enumerate() {
                pool.note_attempt(place, Ok(Duration::from_millis(ms)), now);
            }
        }
    };
    connects([1, 1, 1, 500], now);
    assert_eq!(ejected(&pool, now), 0, "an interval is not over");
    pool.note_attempt(0, Ok(SECOND / 1000), now + 10 * SECOND);
    assert!(is_ejected(&pool, 3, now + 10 * SECOND));
    // The second interval had few connects.
    let later = now + 45 * SECOND;
    pool.note_attempt(3, Ok(SECOND), later);
    pool.note_attempt(0, Ok(SECOND / 1000), later);
    assert_eq!(ejected(&pool, later), 0);
    // They are all as slow.
    connects([500, 500, 400, 500], later);
    pool.note_attempt(0, Ok(SECOND / 2), later + 10 * SECOND);
    assert_eq!(ejected(&pool, later + 10 * SECOND), 0);
}

#[test]
fn where_the_section_is_removed_nobody_is_ejected() {
    let (pool, now) = (pool(4, defaults()), origin());
    fail(&pool, 0, 5, now);
    let without = Pool::new(
        pool.upstream().clone(),
        pool.members().to_vec(),
        *pool.settings(),
    );
    assert_eq!(without.state(0, now), ServerState::Up);
    assert!((0..4).any(|_| without.pick(&[], now) == Some(0)));
    fail(&without, 1, 100, now);
    assert!(!is_ejected(&without, 1, now));
    assert!(is_ejected(&pool, 0, now), "and with it, it still is");
}

#[test]
fn workers_that_fail_at_the_same_time_eject_once() {
    let settings = EjectionSettings {
        largest_share: 50,
        ..defaults()
    };
    let (pool, now) = (pool(8, settings), origin());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..8).for_each(|place| fail(&pool, place, 5 * 25, now)));
        }
    });
    assert_eq!(ejected(&pool, now), 4);
    let all = |read: fn(&Server, EjectionCause) -> u64| -> u64 {
        pool.servers()
            .map(|one| read(one, EjectionCause::ConnectFailures))
            .sum()
    };
    assert_eq!(all(Server::ejections), 4, "each of them once");
    // No failure was lost: each five that found a server in, ejected or spared it. Those of an ejected one do neither.
    let spared = pool.servers().filter(|one| !one.holds().has(Hold::Ejected));
    assert!(
        spared
            .map(|one| one.spared_ejections(EjectionCause::ConnectFailures))
            .all(|spared| spared == 100)
    );
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    Failed(usize),
    Worked(usize),
    Checked(usize),
    Passes(u32),
}

fn event(servers: usize) -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..servers).prop_map(Event::Failed),
        1 => (0..servers).prop_map(Event::Worked),
        1 => (0..servers).prop_map(Event::Checked),
        1 => (0_u32..40).prop_map(Event::Passes),
    ]
}

/// A server as one would keep it, if one had all the time.
#[derive(Clone, Copy, Default)]
struct Naive {
    run: u32,
    times: u32,
    /// Seconds.
    ends_at: u32,
    is_out: bool,
}

proptest! {
    /// Whatever happens, who is ejected, and until when, is what the rules say.
    #[test]
    fn who_is_ejected_is_what_the_rules_say(
        events in prop::collection::vec(event(4), 0..200),
        share in 0_u8..=100,
        most in 1_u32..4,
    ) {
        let settings = EjectionSettings { consecutive_failures: count(most), largest_share: share, ..defaults() };
        let (pool, begin) = (pool(4, settings), origin());
        let mut naive = [Naive::default(); 4];
        let mut seconds = 0;
        for event in events {
            let now = begin + seconds * SECOND;
            match event {
                Event::Failed(place) => {
                    pool.note_attempt(place, refused(), now);
                    naive[place].run += 1;
                    if naive[place].run == most {
                        naive[place].run = 0;
                        let out = naive.iter().filter(|one| one.is_out).count();
                        let one = &mut naive[place];
                        if !one.is_out && out < (4 * usize::from(share) / 100).max(1) {
                            one.times = one.times.saturating_sub((seconds - one.ends_at) / 10) + 1;
                            one.ends_at = seconds + (30 * one.times).min(300);
                            one.is_out = true;
                        }
                    }
                }
                Event::Worked(place) => {
                    pool.note_attempt(place, Ok(SECOND / 1000), now);
                    naive[place].run = 0;
                }
                Event::Checked(place) => {
                    pool.server(place).on_check_passed(now);
                    let one = &mut naive[place];
                    if one.is_out {
                        *one = Naive { run: 0, times: one.times, ends_at: seconds, is_out: false };
                    }
                }
                Event::Passes(some) => seconds += some,
            }
            for one in &mut naive {
                if one.is_out && one.ends_at <= seconds {
                    (one.is_out, one.run) = (false, 0);
                }
            }
            let now = begin + seconds * SECOND;
            for (place, one) in naive.iter().enumerate() {
                prop_assert_eq!(is_ejected(&pool, place, now), one.is_out, "{} after {:?}", place, event);
            }
        }
    }
}
