//! What a pool makes of what is known of its servers.

mod agent;
mod changes;
mod limits;
mod parts;
mod passed_over;

use std::net::SocketAddr;

use super::*;
use crate::epoch::origin;
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

/// The same, asked for by so many workers at once.
fn shares_over(
    workers: usize,
    pool: &Pool,
    count: usize,
    now: Instant,
) -> (Vec<usize>, Vec<Taken>) {
    let each = count / workers;
    let all: Vec<_> = std::thread::scope(|scope| {
        let worker = |number: usize| {
            move || {
                let keys = (number * each..(number + 1) * each).map(|key| mix(key as u64));
                let held = keys.map(|key| pool.hold(&[], key, now).expect("one is up"));
                held.collect::<Vec<_>>()
            }
        };
        let workers: Vec<_> = (0..workers)
            .map(|number| scope.spawn(worker(number)))
            .collect();
        let held = workers.into_iter().map(|worker| worker.join());
        held.flat_map(|held| held.expect("it picks")).collect()
    });
    let mut shares = vec![0; pool.members().len()];
    all.iter().for_each(|(place, _)| shares[*place] += 1);
    (shares, all.into_iter().map(|(_, hold)| hold).collect())
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
