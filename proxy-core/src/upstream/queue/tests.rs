//! Those who wait, in front of real pools.

mod elsewhere;
mod order;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::settings::QueueSettings;
use super::*;
use crate::counted_wakes::CountedWakes;
use crate::epoch::origin;
use crate::upstream::Upstream;
use crate::upstream::address::ServerAddress;
use crate::upstream::pool::{Ask, Member, Pool, PoolSettings};
use crate::upstream::server::Server;
use crate::upstream::taken::Taken;

/// A connection that waits.
struct One {
    place: Place,
    woken: CountedWakes,
}

impl One {
    /// None when as many wait as may.
    fn join(pool: &Arc<Pool>, tried: &[usize]) -> Option<Self> {
        Self::join_at(pool, tried, origin())
    }

    fn join_at(pool: &Arc<Pool>, tried: &[usize], now: Instant) -> Option<Self> {
        let tried = tried.to_vec();
        let one = Self {
            place: Place::join(pool, Wish { hash: 7, tried }, None, now)?,
            woken: CountedWakes::default(),
        };
        Some(one)
    }

    fn poll(&self) -> Polled {
        self.poll_at(origin())
    }

    fn poll_at(&self, now: Instant) -> Polled {
        self.place.poll(now, || self.woken.waker())
    }

    fn waits(&self) -> bool {
        matches!(self.poll(), Polled::Waits(_))
    }

    fn granted(&self) -> Grant {
        match self.poll() {
            Polled::Answered(Answer::Granted(grant)) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn wakes(&self) -> usize {
        self.woken.get()
    }
}

fn settings(max: u64) -> PoolSettings {
    PoolSettings {
        checked: true,
        queue: Some(QueueSettings {
            max,
            timeout: Duration::from_secs(5),
        }),
        ..PoolSettings::default()
    }
}

/// A pool of servers with these limits.
fn pool(limits: &[u64], settings: PoolSettings) -> Arc<Pool> {
    let upstream = Arc::new(Upstream::new("u".to_owned()));
    let members = (1..).zip(limits).map(|(port, &max)| {
        let address = ServerAddress::Tcp(SocketAddr::from(([192, 0, 2, 1], port)));
        let server = Server::fixed(&upstream, address.to_string(), address);
        Member {
            max_connections: Some(max),
            ..Member::new(Arc::new(server), 1)
        }
    });
    Arc::new(Pool::new(upstream.clone(), members.collect(), settings))
}

/// The same servers with other limits, as after a reload.
fn reloaded(pool: &Pool, limits: &[u64]) -> Arc<Pool> {
    let members = pool.members().iter().zip(limits);
    let members = members.map(|(member, &max)| Member {
        max_connections: Some(max),
        ..member.clone()
    });
    let (upstream, settings) = (pool.upstream().clone(), *pool.settings());
    Arc::new(Pool::new(upstream, members.collect(), settings))
}

fn take(pool: &Pool) -> Option<Taken> {
    let taken = pool.take(&[], Ask::Able, 0, origin());
    taken.ok().map(|(_, taken)| taken)
}

fn fill(pool: &Pool) -> Vec<Taken> {
    std::iter::from_fn(|| take(pool)).collect()
}

#[test]
fn a_place_is_handed_to_the_first_and_wakes_nobody_else() {
    let pool = pool(&[2], settings(100));
    let mut held = fill(&pool);
    let all: Vec<_> = (0..3)
        .map(|_| One::join(&pool, &[]).expect("there is room"))
        .collect();
    assert!(all.iter().all(One::waits));
    assert!(pool.has_waiting() && pool.upstream().slot_queue() == 3);
    held.pop();
    let wakes = || all.iter().map(One::wakes).collect::<Vec<_>>();
    assert_eq!(wakes(), [1, 0, 0]);
    assert_eq!(pool.upstream().slot_queue(), 2);
    assert!(take(&pool).is_none(), "it is the first one's already");
    held.pop();
    assert_eq!(wakes(), [1, 1, 0]);
    // Whose worker is busy holds up nobody.
    let second = all[1].granted();
    drop(second.taken);
    assert_eq!(wakes(), [1, 1, 1]);
    drop((all[0].granted(), all[2].granted()));
    assert_eq!(pool.upstream().connections(), 0);
    assert!(!pool.has_waiting() && take(&pool).is_some());
}

#[test]
fn who_leaves_hands_on_what_it_was_handed() {
    let pool = pool(&[1], settings(100));
    let held = fill(&pool);
    let [first, second, third] = [(); 3].map(|()| One::join(&pool, &[]).expect("room"));
    assert!(first.waits() && second.waits() && third.waits());
    drop(second);
    drop(held);
    assert_eq!((first.wakes(), third.wakes()), (1, 0));
    // It has not heard of it.
    drop(first);
    assert_eq!(third.wakes(), 1);
    drop(third.granted());
    assert_eq!(pool.upstream().connections(), 0);
}

#[test]
fn no_more_wait_than_may() {
    let pool = pool(&[1], settings(2));
    let held = fill(&pool);
    let waiting = [(); 2].map(|()| One::join(&pool, &[]).expect("there is room"));
    assert!(One::join(&pool, &[]).is_none());
    drop(held);
    assert!(One::join(&pool, &[]).is_some(), "one waits no more");
    drop(waiting);
    let none = PoolSettings {
        queue: None,
        ..settings(0)
    };
    let pool = super::tests::pool(&[1], none);
    let _held = fill(&pool);
    assert!(One::join(&pool, &[]).is_none());
}

#[test]
fn what_was_free_before_is_found() {
    let pool = pool(&[1], settings(100));
    let one = One::join(&pool, &[]).expect("there is room");
    assert_eq!(one.granted().server, 0);
}

#[test]
fn a_reload_that_raises_a_limit_serves_as_many_as_it_lets_in() {
    let before = pool(&[1, 1], settings(100));
    let held = fill(&before);
    let all: Vec<_> = (0..5)
        .map(|_| One::join(&before, &[]).expect("there is room"))
        .collect();
    assert!(all.iter().all(One::waits));
    let raised = reloaded(&before, &[2, 3]);
    raised.serve_waiting();
    let wakes: Vec<_> = all.iter().map(One::wakes).collect();
    assert_eq!(wakes, [1, 1, 1, 0, 0]);
    let grants: Vec<_> = all[..3].iter().map(One::granted).collect();
    assert!(grants.iter().all(|grant| Arc::ptr_eq(&grant.pool, &raised)));
    // Who comes with the settings of before waits for the same servers, in their order.
    let swapped = {
        let members = raised.members().iter().rev().cloned().collect();
        Pool::new(raised.upstream().clone(), members, *raised.settings())
    };
    let swapped = Arc::new(swapped);
    swapped.serve_waiting();
    let late = One::join(&before, &[0]).expect("there is room");
    drop(grants);
    let served: Vec<_> = all[3..].iter().map(One::granted).collect();
    let late = late.granted();
    assert_eq!((late.tried, late.server), (vec![1], 0));
    drop((held, served, late.taken));
    assert_eq!(before.upstream().connections(), 0);
}

#[test]
fn a_server_that_comes_serves_those_who_wait() {
    let pool = pool(&[1, 2], settings(100));
    pool.server(1).set_up(false, origin());
    let _held = fill(&pool);
    let all = [(); 3].map(|()| One::join(&pool, &[]).expect("there is room"));
    assert!(all.iter().all(One::waits));
    pool.server(1).set_up(true, origin());
    // One of them runs, and finds that there is more.
    assert_eq!(all[0].wakes(), 1);
    let _ = all[0].poll();
    assert_eq!(pool.upstream().slot_queue(), 1);
    assert_eq!((all[1].wakes(), all[2].wakes()), (1, 0));
}

#[test]
fn while_all_are_down_nobody_waits() {
    let pool = pool(&[1, 1], settings(100));
    let _held = fill(&pool);
    let all = [&[1][..], &[], &[]].map(|tried| One::join(&pool, tried).expect("room"));
    assert!(all.iter().all(One::waits));
    pool.server(0).set_up(false, origin());
    // The one that has tried the other one in vain has nothing to wait for.
    let _ = all[1].poll();
    let is_told = |one: &One| matches!(one.poll(), Polled::Answered(Answer::NoneUp));
    assert!(is_told(&all[0]) && all[1].waits() && all[2].waits());
    pool.server(1).set_up(false, origin());
    let _ = all[2].poll();
    assert!(is_told(&all[1]) && is_told(&all[2]));
    assert_eq!(pool.upstream().slot_queue(), 0);
}

#[test]
fn a_rest_that_ends_is_looked_for_by_one() {
    let unchecked = PoolSettings {
        checked: false,
        ..settings(100)
    };
    let (pool, now) = (pool(&[1, 3], unchecked), origin());
    pool.server(1).on_connect(false, now);
    let _held = fill(&pool);
    let mut all = vec![One::join(&pool, &[]).expect("there is room")];
    all.push(One::join(&pool, &[]).expect("there is room"));
    let over = now + crate::upstream::rest::REST;
    let looks_at = |one: &One| match one.poll() {
        Polled::Waits(at) => at,
        other => panic!("{other:?}"),
    };
    assert_eq!((looks_at(&all[0]), looks_at(&all[1])), (Some(over), None));
    // The next one looks when the first one has left.
    drop(all.remove(0));
    assert_eq!(all[0].wakes(), 1);
    assert_eq!(looks_at(&all[0]), Some(over));
    let grant = all[0].poll_at(over);
    assert!(
        matches!(grant, Polled::Answered(Answer::Granted(_))),
        "{grant:?}"
    );
}

#[test]
fn an_ejection_that_ends_while_a_place_is_looked_for_holds_up_nobody() {
    use crate::upstream::ejection::EjectionSettings;
    use crate::upstream::outage::Fault;
    let second = Duration::from_secs(1);
    let ejection = EjectionSettings {
        consecutive_failures: std::num::NonZeroU32::MIN,
        early: None,
        slow_factor: std::num::NonZeroU32::MIN,
        interval: second,
        base: second,
        max: second,
        largest_share: 100,
        panic_threshold: 0,
    };
    for balance in [crate::Balance::RoundRobin, crate::Balance::LeastConnections] {
        let made = pool(&[1, 2], settings(100));
        let (upstream, members) = (made.upstream().clone(), made.members().to_vec());
        let settings = PoolSettings {
            balance,
            ..settings(100)
        };
        let pool = Pool::new(upstream, members, settings).with_ejection(Some(ejection));
        let (pool, now) = (Arc::new(pool), origin());
        let refused = std::io::Error::from(rustix::io::Errno::CONNREFUSED);
        pool.judge_connect(1, Err(Fault::of(&refused)), now);
        let mut held = fill(&pool);
        assert_eq!(held.len(), 1, "{balance:?}");
        let all = [(); 2].map(|()| One::join(&pool, &[]).expect("there is room"));
        assert!(all.iter().all(One::waits));
        // A connection beside the line finds out.
        let over = now + second;
        held.extend(
            pool.take(&[0], Ask::Able, 0, over)
                .ok()
                .map(|(_, taken)| taken),
        );
        assert_eq!(held.len(), 2, "{balance:?}");
        // What it finds out is looked at next.
        let polled = [all[0].poll_at(over), all[0].poll_at(over)];
        let is_served = |one: &Polled| matches!(one, Polled::Answered(Answer::Granted(_)));
        assert!(polled.iter().any(is_served), "{balance:?}: {polled:?}");
        assert!(all[1].waits());
    }
}
