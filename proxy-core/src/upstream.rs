//! Where connections go: servers, and which one is next.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::address::ServerAddress;
use crate::balance::{Balance, Load};
use crate::metrics::{PerWorker, UpstreamCells};

/// A set of servers that are as good as each other.
#[derive(Debug)]
pub struct Upstream {
    /// The label `upstream`.
    pub name: String,
    /// How long one connect may take, a server's address each.
    pub connect_timeout: Duration,
    /// What each worker counts of it.
    pub cells: PerWorker<UpstreamCells>,
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
            servers: servers.into(),
            balance,
        }
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

    /// The server to try next, or none when all are in `tried`.
    pub(crate) fn pick(&self, tried: &[usize]) -> Option<usize> {
        self.balance.pick(
            self.servers.len(),
            |server| Load {
                connections: self.connections(server),
                weight: self.servers[server].weight,
            },
            |server| tried.contains(&server),
        )
    }
}

/// One member of an upstream.
#[derive(Debug)]
pub struct Server {
    /// The label `server`: the address as it was configured.
    pub label: String,
    weight: u16,
    location: Location,
    /// Whether the last connect worked. Written by any worker, at the end of a connect.
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
            weight,
            location: Location::Fixed(address),
            up: AtomicBool::new(true),
        }
    }

    /// A server with a name that [`Server::set_addresses`] gives addresses to.
    pub fn named(label: String, weight: u16) -> Self {
        Self {
            label,
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

    /// Whether the last connect to it worked; true before the first.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    pub(crate) fn set_up(&self, up: bool) {
        // A write only on change keeps the cache line shared.
        if self.up.load(Relaxed) != up {
            self.up.store(up, Relaxed);
        }
    }

    /// The address to try after `failed` others of it, or none when there is no other.
    pub(crate) fn address(&self, failed: usize) -> Option<ServerAddress> {
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
    pub(crate) fn prefer(&self, failed: usize) {
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
