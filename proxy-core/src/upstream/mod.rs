//! Where connections go: servers, and which one is next.

pub(crate) mod address;
pub(crate) mod addresses;
pub(crate) mod balance;
pub(crate) mod health;
pub(crate) mod outage;
pub(crate) mod rest;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::metrics::{CheckCells, PerWorker, UpstreamCells};
use crate::upstream::address::ServerAddress;
use crate::upstream::addresses::{Addresses, Walk};
use crate::upstream::balance::{Balance, Load, Try};
use crate::upstream::outage::Outage;
use crate::upstream::rest::Rest;

/// A set of servers that are as good as each other.
#[derive(Debug)]
pub struct Upstream {
    /// The label `upstream`.
    pub name: String,
    /// How long one connect may take, a server's address each.
    pub connect_timeout: Duration,
    /// What each worker counts of it.
    pub cells: PerWorker<UpstreamCells>,
    /// What is counted of its health checks, by the server's index; none: there are no checks.
    pub checks: Option<Box<[CheckCells]>>,
    servers: Box<[Server]>,
    balance: Balance,
}

impl Upstream {
    /// An upstream of at least one server.
    pub fn new(
        name: String,
        servers: Vec<Server>,
        balance: Balance,
        connect_timeout: Duration,
        workers: usize,
    ) -> Self {
        Self {
            name,
            connect_timeout,
            cells: PerWorker::new(workers, || UpstreamCells::new(servers.len())),
            checks: None,
            servers: servers.into(),
            balance,
        }
    }

    /// With health checks, which are then what says whether a server is up; all are until [`Server::set_up`] says else.
    #[must_use]
    pub fn with_checks(mut self) -> Self {
        let cells = self.servers.iter().map(|_| CheckCells::default());
        self.checks = Some(cells.collect());
        self
    }

    /// Its servers, in the order of the configuration.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Connections to a server, over all workers.
    pub fn connections(&self, server: usize) -> u64 {
        // Opened on one worker and closed on another is possible, so only the sum means something. A close is
        // read before its open, lest a connection that ends meanwhile make the difference negative.
        let closed = self.cells.sum(|cells| cells.servers[server].closed.get());
        let opened = self.cells.sum(|cells| cells.servers[server].opened.get());
        opened.saturating_sub(closed)
    }

    /// Connections that wait for a server, over all workers.
    pub fn queue(&self) -> u64 {
        // As for connections: a wait may end on another worker than it began on.
        let over = self.cells.sum(|cells| cells.waits_over.get());
        let begun = self.cells.sum(|cells| cells.waits_begun.get());
        begun.saturating_sub(over)
    }

    /// A connect of traffic worked, or failed at all addresses of the server. Health checks, where there are any, know
    /// better: a server that resets one connect in a thousand is not down.
    pub(crate) fn on_connect(&self, server: usize, worked: bool, now: Instant) {
        if self.checks.is_some() {
            return;
        }
        let server = &self.servers[server];
        server.set_up(worked);
        if worked {
            server.rest.on_success();
        } else {
            server.rest.on_failure(now);
        }
    }

    /// The server to try next, or none when all are in `tried`. Those that checks say are down come last; without checks,
    /// those that failed a moment ago do.
    pub(crate) fn pick(&self, tried: &[usize], now: Instant) -> Option<usize> {
        // Each time that another connection takes a server's try first, one more rests.
        for _ in 0..self.servers.len() {
            let picked = self.pick_in_turn(tried, now)?;
            if self.checks.is_some() || self.servers[picked].rest.claim(now) {
                return Some(picked);
            }
        }
        self.pick_in_turn(tried, now)
    }

    fn pick_in_turn(&self, tried: &[usize], now: Instant) -> Option<usize> {
        let is_down = |server: usize| {
            let server = &self.servers[server];
            if self.checks.is_some() {
                !server.is_up()
            } else {
                server.rest.is_resting(now)
            }
        };
        let load = |server: usize| Load {
            connections: self.connections(server),
            weight: self.servers[server].weight,
        };
        let try_number = if tried.is_empty() {
            Try::First
        } else {
            Try::Another
        };
        let tried = |server| tried.contains(&server);
        self.balance
            .pick(self.servers.len(), load, tried, is_down, try_number)
    }
}

/// One member of an upstream.
#[derive(Debug)]
pub struct Server {
    /// The label `server`: the address as it was configured.
    pub label: String,
    /// Since when it fails, and why.
    pub outage: Outage,
    weight: u16,
    location: Location,
    /// What health checks say, written by the thread that checks; without them, whether the last connect worked, written by
    /// any worker at the end of a connect.
    up: AtomicBool,
    /// Without checks: until when it is passed over.
    rest: Rest,
}

#[derive(Debug)]
enum Location {
    Fixed(ServerAddress),
    Named(Addresses),
}

impl Server {
    /// A server at an address.
    pub fn fixed(label: String, address: ServerAddress, weight: u16) -> Self {
        Self {
            label,
            outage: Outage::default(),
            weight,
            location: Location::Fixed(address),
            up: AtomicBool::new(true),
            rest: Rest::default(),
        }
    }

    /// A server with a name that [`Server::set_addresses`] gives addresses to.
    pub fn named(label: String, weight: u16) -> Self {
        Self {
            label,
            outage: Outage::default(),
            weight,
            location: Location::Named(Addresses::default()),
            up: AtomicBool::new(true),
            rest: Rest::default(),
        }
    }

    /// Its share of connections, relative to the other servers.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// What a name resolves to now; connections that exist are left alone. Nothing for a fixed server.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        if let Location::Named(named) = &self.location
            && named.set(addresses)
        {
            self.rest.end();
        }
    }

    /// Whether its health checks say that it is up; without checks, whether the last connect to it worked. True before the
    /// first.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Says whether it is up: for who checks it.
    pub fn set_up(&self, up: bool) {
        // A write only on change keeps the cache line shared.
        if self.up.load(Relaxed) != up {
            self.up.store(up, Relaxed);
        }
    }

    /// A connection's way over its addresses, which begins with another one than the last connection's.
    pub fn walk(&self) -> Walk {
        match &self.location {
            Location::Fixed(address) => Walk::fixed(address.clone()),
            Location::Named(named) => named.walk(),
        }
    }

    /// The same for a check, which takes no connection's turn.
    pub fn walk_aside(&self) -> Walk {
        match &self.location {
            Location::Fixed(address) => Walk::fixed(address.clone()),
            Location::Named(named) => named.walk_aside(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::rest::REST;

    fn upstream() -> Upstream {
        let server = |port: u16| {
            let address = SocketAddr::from(([192, 0, 2, 1], port));
            Server::fixed(address.to_string(), ServerAddress::Tcp(address), 1)
        };
        let servers = vec![server(1), server(2)];
        let balance = Balance::round_robin(&[1, 1]);
        Upstream::new("u".to_owned(), servers, balance, Duration::from_secs(1), 1)
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn without_checks_the_last_connect_says_whether_a_server_is_up() {
        let (upstream, now) = (upstream(), origin());
        upstream.on_connect(0, false, now);
        assert!(!upstream.servers()[0].is_up());
        upstream.on_connect(0, true, now);
        assert!(upstream.servers()[0].is_up());
    }

    #[test]
    fn without_checks_one_that_failed_gets_one_try_after_each_rest() {
        let (upstream, now) = (upstream(), origin());
        upstream.on_connect(0, false, now);
        let tries = |now| {
            let picks = (0..20).map(|_| upstream.pick(&[], now));
            picks.filter(|&picked| picked == Some(0)).count()
        };
        assert_eq!(tries(now), 0);
        assert_eq!(tries(now + REST), 1);
        // What came of it is not known yet.
        assert_eq!(tries(now + REST), 0);
        upstream.on_connect(0, false, now + REST);
        assert_eq!(tries(now + REST), 0);
        assert_eq!(
            upstream.pick(&[1], now + REST),
            Some(0),
            "nothing else is left"
        );
        upstream.on_connect(0, true, now + REST);
        assert_eq!(tries(now + REST), 10);
    }

    #[test]
    fn without_checks_all_that_failed_are_tried_in_turn() {
        let (upstream, now) = (upstream(), origin());
        for server in [0, 1] {
            upstream.on_connect(server, false, now);
        }
        let picks: [_; 4] = std::array::from_fn(|_| upstream.pick(&[], now));
        assert_eq!(picks, [Some(0), Some(1), Some(0), Some(1)]);
    }

    #[test]
    fn a_retry_leaves_the_turns_alone() {
        let least = Balance::least_connections;
        let balances: [fn() -> Balance; 2] = [|| Balance::round_robin(&[1, 1]), least];
        for balance in balances {
            let (mut upstream, now) = (upstream(), origin());
            upstream.balance = balance();
            let first: [_; 6] = std::array::from_fn(|_| {
                let first = upstream.pick(&[], now);
                let failed = first.expect("there is one");
                assert_eq!(upstream.pick(&[failed], now), Some(1 - failed));
                assert_eq!(upstream.pick(&[0, 1], now), None);
                failed
            });
            assert_eq!(first, [0, 1, 0, 1, 0, 1]);
        }
    }

    #[test]
    fn new_addresses_end_the_rest_of_a_name() {
        let (mut upstream, now) = (upstream(), origin());
        upstream.servers[0] = Server::named("a:1".to_owned(), 1);
        upstream.on_connect(0, false, now);
        let later = now + Duration::from_millis(1);
        let picks = || [upstream.pick(&[], later), upstream.pick(&[], later)];
        assert_eq!(picks(), [Some(1), Some(1)]);
        let addresses = [([192, 0, 2, 1], 1).into()];
        upstream.servers[0].set_addresses(&addresses);
        assert!(picks().contains(&Some(0)));
        assert_eq!(picks(), [Some(1), Some(1)], "one try, as after any rest");
        upstream.servers[0].set_addresses(&addresses);
        assert_eq!(picks(), [Some(1), Some(1)], "nothing is new");
    }

    #[test]
    fn with_checks_they_alone_say_it_and_who_is_down_is_passed_over() {
        let (upstream, now) = (upstream().with_checks(), origin());
        upstream.on_connect(0, false, now);
        assert!(upstream.servers()[0].is_up());
        upstream.servers()[0].set_up(false);
        upstream.on_connect(0, true, now);
        assert!(!upstream.servers()[0].is_up());
        let picks = [upstream.pick(&[], now), upstream.pick(&[], now)];
        assert_eq!(picks, [Some(1), Some(1)]);
        assert_eq!(upstream.pick(&[1], now), Some(0));
    }
}
