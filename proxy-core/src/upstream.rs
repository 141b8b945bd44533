//! Where connections go: servers, and which one is next.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::address::ServerAddress;
use crate::balance::{Balance, Load};
use crate::metrics::{CheckCells, PerWorker, UpstreamCells};
use crate::outage::Outage;

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

    /// A connect of traffic worked, or failed. Health checks, where there are any, know better: a server that resets one
    /// connect in a thousand is not down.
    pub(crate) fn on_connect(&self, server: usize, worked: bool) {
        if self.checks.is_none() {
            self.servers[server].set_up(worked);
        }
    }

    /// The server to try next, or none when all are in `tried`. Those that checks say are down come last.
    pub(crate) fn pick(&self, tried: &[usize]) -> Option<usize> {
        self.balance.pick(
            self.servers.len(),
            |server| Load {
                connections: self.connections(server),
                weight: self.servers[server].weight,
            },
            |server| tried.contains(&server),
            |server| self.checks.is_some() && !self.servers[server].is_up(),
        )
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
}

#[derive(Debug)]
enum Location {
    Fixed(ServerAddress),
    Named(Named),
}

/// The addresses of a name, as of the last time it was resolved. Read once a connect.
#[derive(Debug, Default)]
struct Named {
    addresses: RwLock<Arc<[SocketAddr]>>,
    /// The address that worked last: where a name has an address of each family and the server listens on one.
    preferred: AtomicUsize,
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
        }
    }

    /// A server with a name that [`Server::set_addresses`] gives addresses to.
    pub fn named(label: String, weight: u16) -> Self {
        Self {
            label,
            outage: Outage::default(),
            weight,
            location: Location::Named(Named::default()),
            up: AtomicBool::new(true),
        }
    }

    /// Its share of connections, relative to the other servers.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// What a name resolves to now; connections that exist are left alone. Nothing for a fixed server.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        if let Location::Named(named) = &self.location {
            let mut current = named
                .addresses
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if current.as_ref() != addresses {
                *current = addresses.into();
                named.preferred.store(0, Relaxed);
            }
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

    /// The address to try after `failed` others of it, or none when there is no other.
    pub fn address(&self, failed: usize) -> Option<ServerAddress> {
        match &self.location {
            Location::Fixed(address) => (failed == 0).then(|| address.clone()),
            Location::Named(named) => {
                let addresses = named.addresses();
                let index = named.preferred.load(Relaxed) + failed;
                (failed < addresses.len())
                    .then(|| ServerAddress::Tcp(addresses[index % addresses.len()]))
            }
        }
    }

    /// The address after `failed` others worked: it is tried first from now on.
    pub fn prefer(&self, failed: usize) {
        if let Location::Named(named) = &self.location
            && failed > 0
        {
            let count = named.addresses().len().max(1);
            let index = named.preferred.load(Relaxed) + failed;
            named.preferred.store(index % count, Relaxed);
        }
    }
}

impl Named {
    fn addresses(&self) -> Arc<[SocketAddr]> {
        self.addresses
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> Upstream {
        let server = |port: u16| {
            let address = SocketAddr::from(([192, 0, 2, 1], port));
            Server::fixed(address.to_string(), ServerAddress::Tcp(address), 1)
        };
        let servers = vec![server(1), server(2)];
        let balance = Balance::round_robin(&[1, 1]);
        Upstream::new("u".to_owned(), servers, balance, Duration::from_secs(1), 1)
    }

    #[test]
    fn without_checks_the_last_connect_tells_and_nobody_is_passed_over() {
        let upstream = upstream();
        upstream.on_connect(0, false);
        assert!(!upstream.servers()[0].is_up());
        assert_eq!([upstream.pick(&[]), upstream.pick(&[])], [Some(0), Some(1)]);
        upstream.on_connect(0, true);
        assert!(upstream.servers()[0].is_up());
    }

    #[test]
    fn with_checks_they_alone_tell_and_who_is_down_is_passed_over() {
        let upstream = upstream().with_checks();
        upstream.on_connect(0, false);
        assert!(upstream.servers()[0].is_up());
        upstream.servers()[0].set_up(false);
        upstream.on_connect(0, true);
        assert!(!upstream.servers()[0].is_up());
        assert_eq!([upstream.pick(&[]), upstream.pick(&[])], [Some(1), Some(1)]);
        assert_eq!(upstream.pick(&[1]), Some(0));
    }
}
