//! The admin server: metrics, health and the live page, on threads of their own.
//!
//! Workers count into cells and know nothing of who reads them. A scrape reads the cells, the threads' CPU clocks
//! and `/proc` on the thread `corelane-admin`; the thread `corelane-sampler` reads the CPU clocks once a second
//! for what needs two samples: utilization and imbalance. `/connections` copies the live connections' cells, a few at a time.

mod advice;
mod api;
pub mod commands;
mod exposition;
mod findings;
mod http;
mod moment;
mod observed;
mod page;
mod sampling;
mod token;
mod utc;

#[cfg(test)]
mod fixture;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proxy_core::Descriptor;
use rustix::net::getsockname;
use rustix::process::nice;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub use self::api::Api;
use self::exposition::Exposition;
use self::http::events::Broadcast;
use self::http::hosts::Hosts;
use self::http::paths::Paths;
pub use self::http::security::{Security, Tls};
use self::http::server;
pub use self::observed::Observed;
pub use self::observed::client_lists::{ClientList, ClientLists};
pub use self::observed::discoveries::{Discoveries, DiscoveryView};
pub use self::observed::events::{EVENTS_MAX, Event, EventKind, Events, Handed};
pub use self::observed::log::{Log, LogView};
pub use self::observed::reloads::{Refusal, Reloads};
pub use self::observed::running::Running;
pub use self::observed::surroundings::{Lines, Surroundings};
pub use self::observed::switches::Switches;
use self::sampling::sampler::Sampler;
pub use self::token::{TOKEN_MAX, TOKEN_MIN, Token};
pub use self::utc::Utc;

/// Niceness of the thread that answers, above the process's own: where it shares a CPU with a worker, a scrape of a
/// thousand servers (ten milliseconds) gives way to messages, and still has a tenth of a CPU that is full.
const NICENESS: i32 = 10;

/// Connections that wait to be accepted at a listening socket of an admin server.
pub const BACKLOG: u16 = 128;

/// How long the last answers may take of a server that retires.
const RETIRE_PATIENCE: Duration = Duration::from_millis(200);

/// How long who gives sockets away waits until the server has emptied them.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// An admin server. It ends, with its connections and threads, when dropped.
pub struct Admin {
    /// Where it listens, or is to listen, with the port that the kernel chose.
    pub address: SocketAddr,
    paths: Arc<Paths>,
    /// What is accepted from, until it is dropped.
    gate: Mutex<Option<Gate>>,
    clients: server::Shared,
    /// The server's thread runs until this is gone.
    orders: Option<UnboundedSender<Order>>,
    server: Option<JoinHandle<()>>,
    _sampler: Sampler,
}

/// What is counted.
pub struct Counted(Arc<Paths>);

impl Counted {
    /// The totals of now, as bytes, for the next process: [`Observed::earlier`].
    pub fn totals(&self) -> Vec<u8> {
        self.0.totals()
    }
}

/// What the server's thread is asked for: to accept from sockets that listen.
struct Order {
    sockets: Vec<Descriptor>,
    closing: watch::Receiver<()>,
    /// Whoever has this accepts.
    accepting: mpsc::Sender<()>,
}

/// Some sockets that are accepted from. Dropped, whoever waits at them is still taken; then they are closed.
struct Gate {
    closing: watch::Sender<()>,
    /// Its other side is gone when the sockets are closed.
    accepting: mpsc::Receiver<()>,
}

impl Gate {
    /// Closes, and waits until the sockets are closed, which a thread that answers a scrape may do later.
    fn close(self) {
        drop(self.closing);
        // Nothing is ever sent.
        let _ = self.accepting.recv_timeout(CLOSE_PATIENCE);
    }
}

/// The address of a listening socket of TCP.
///
/// # Errors
/// What `getsockname(2)` returns.
fn address_of(socket: &Descriptor) -> io::Result<SocketAddr> {
    let address = getsockname(socket)?;
    SocketAddr::try_from(address).map_err(|_| io::Error::other("an admin server listens on TCP"))
}

/// Starts what serves what `observed` shows, at `address` later: see [`Admin::serve`]. It answers to `hosts`, besides the names
/// that are always its own.
///
/// # Errors
/// When there is no thread or reactor left for it.
pub fn start(
    address: SocketAddr,
    observed: Arc<Observed>,
    hosts: &[String],
    api: Arc<Api>,
    security: Security,
) -> io::Result<Admin> {
    let sampler = Sampler::start(observed.clone())?;
    let exposition = Exposition::new(observed.clone(), sampler.watch.clone());
    let broadcast = Broadcast::new(observed.clone(), sampler.watch.clone());
    let hosts = Hosts::new(hosts, address.ip());
    let paths = Arc::new(Paths::new(
        (hosts, security),
        observed,
        exposition,
        broadcast,
        api,
    ));
    let (orders, ordered) = unbounded_channel();
    let (tell, started) = mpsc::channel();
    let its = paths.clone();
    let clients = server::Shared::default();
    let shared = clients.clone();
    let server = thread::Builder::new()
        .name("corelane-admin".to_owned())
        .spawn(move || {
            // Refused, a scrape takes its full share of a CPU; that is no reason to have none.
            let _ = nice(NICENESS);
            // Made here, since a runtime must not be dropped where another one runs, as it does around the caller.
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            // The receiver waits for it.
            let _ = tell.send(Ok(()));
            runtime.block_on(obey(ordered, its, clients));
        })?;
    // A thread that ends without a word panicked, which its output tells.
    let ended = || {
        Err(io::Error::other(
            "the admin server's thread ended while starting",
        ))
    };
    started.recv().unwrap_or_else(|_| ended())?;
    Ok(Admin {
        address,
        paths,
        gate: Mutex::default(),
        clients: shared,
        orders: Some(orders),
        server: Some(server),
        _sampler: sampler,
    })
}

/// Does what is ordered until nothing can be any more.
async fn obey(mut orders: UnboundedReceiver<Order>, paths: Arc<Paths>, clients: server::Shared) {
    while let Some(order) = orders.recv().await {
        let Order {
            sockets,
            closing,
            accepting,
        } = order;
        for socket in sockets {
            let accept = server::Accept {
                paths: paths.clone(),
                clients: clients.clone(),
                closing: closing.clone(),
                accepting: accepting.clone(),
            };
            drop(tokio::spawn(accept.run(socket)));
        }
    }
}

impl Admin {
    /// Serves at these sockets, which listen and are non-blocking, from now on; at others no more: clients that wait there are
    /// taken first, and those that are connected are still served. Returns when it has let go of the others.
    ///
    /// # Errors
    /// When the address of a socket can't be read; nothing has changed then.
    pub fn serve(&mut self, sockets: Vec<Descriptor>) -> io::Result<()> {
        if let Some(socket) = sockets.first() {
            self.address = address_of(socket)?;
        }
        self.release();
        let (closing, closes) = watch::channel(());
        let (accepts, accepting) = mpsc::channel();
        if let Some(orders) = &self.orders {
            // A thread that is gone accepts nobody.
            let _ = orders.send(Order {
                sockets,
                closing: closes,
                accepting: accepts,
            });
        }
        *self.lock_gate() = Some(Gate { closing, accepting });
        Ok(())
    }

    /// Gives its sockets away, and ends: who is connected is answered once more, within a fifth of a second. What is left can still
    /// be counted.
    pub fn retire(self) -> Counted {
        self.release();
        self.clients.retire();
        let mut looks = RETIRE_PATIENCE.as_millis();
        while looks > 0 && self.clients.is_connected() {
            looks -= 1;
            thread::park_timeout(Duration::from_millis(1));
        }
        Counted(self.paths.clone())
    }

    /// Where it is asked, as people write it.
    pub fn url(&self) -> String {
        let scheme = if self.paths.tls().is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Answers to these names from now on, besides those that are always its own, and to those who pass this.
    pub fn answer_to(&self, hosts: &[String], security: Security) {
        let hosts = Hosts::new(hosts, self.address.ip());
        self.paths.answer_to(hosts, security);
    }

    /// Gives its sockets away: clients that wait there are taken, and those that are connected are still served. Returns when
    /// the server's descriptors of them are closed, or after a second.
    pub fn release(&self) {
        let gate = self.lock_gate().take();
        if let Some(gate) = gate {
            gate.close();
        }
    }

    fn lock_gate(&self) -> MutexGuard<'_, Option<Gate>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // It waits for orders.
        drop(self.orders.take());
        if let Some(server) = self.server.take() {
            // A thread that panicked has said so on its own.
            let _ = server.join();
        }
    }
}

#[cfg(test)]
mod tests;
