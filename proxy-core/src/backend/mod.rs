//! A scheduler, as the rest of the proxy sees it: what it starts, which orders it takes, what it is capable of
//! and what only it counts.

mod evacuation;
mod open;
mod own;
mod profile;
mod pulse;

pub use self::evacuation::{Adopter, Evacuation, LEAVING_PER_MS, MOVING_MAX, Moving, Pace};
pub use self::open::{OpenSocket, OpenSockets};
pub use self::own::{OwnFamily, OwnKind, OwnMetrics, OwnSample};
pub use self::profile::{BindSockets, Evening, Profile, Stealing};
pub use self::pulse::{Answers, Asked, Pulse};

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::generation::Generation;
use crate::lifeline::Deaths;
use crate::listener::Listener;
use crate::listener::settings::ListenerSettings;
use crate::transport::Descriptor;

/// Prefix of the workers' thread names; the worker's index follows.
pub const WORKER_THREAD_PREFIX: &str = "corelane-w";

/// The workers of a scheduler.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One worker each: the CPU that it is pinned to, or none to leave that to the kernel.
    pub cpus: Vec<Option<usize>>,
    /// What the workers share: as many as there are CPUs.
    pub generation: Arc<Generation>,
    /// Where a worker's death is reported.
    pub deaths: Deaths,
}

/// A listener with its sockets.
#[derive(Debug)]
pub struct Listening {
    /// The listener, with the settings that its first connections have.
    pub settings: Arc<ListenerSettings>,
    /// One entry a bind address: sockets that listen. Where workers accept from their own, each has those whose place is
    /// its index, and so on: so there may be more sockets than workers, and a worker may have none.
    pub sockets: Vec<Vec<Descriptor>>,
}

impl Listening {
    /// The sockets of each of `workers` workers that accept from their own.
    pub fn by_worker(self, workers: usize) -> Vec<Vec<Descriptor>> {
        let mut own: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for sockets in self.sockets {
            for (place, socket) in sockets.into_iter().enumerate() {
                own[place % workers].push(socket);
            }
        }
        own
    }
}

/// A worker thread, as the operating system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerThread {
    /// Its thread id (`gettid(2)`).
    pub tid: i32,
    /// The CPU that it is pinned to.
    pub cpu: Option<usize>,
}

/// A scheduler that runs. Nothing here is on the path of a byte.
pub trait Backend: Send {
    /// What it is called and what it can do.
    fn profile(&self) -> Profile;

    /// What only this scheduler counts, for other threads to read.
    fn own_metrics(&self) -> Arc<dyn OwnMetrics>;

    /// The worker threads, by index.
    fn threads(&self) -> &[WorkerThread];

    /// The CPU whose clients a socket is for, by its place among those of its address: the kernel is asked to prefer the
    /// socket for them. None: which socket a client gets is left to the kernel.
    fn steered_to(&self, place: usize) -> Option<usize> {
        let _ = place;
        None
    }

    /// Accepts for listeners, from these sockets besides those that it has. It returns when all of them are watched.
    ///
    /// Before the first call the workers run and nothing of the outside can reach them: a start that fails in between has
    /// accepted no client.
    ///
    /// # Errors
    /// When a socket can't be watched. Some of the others may be.
    fn listen(&self, listening: Vec<Listening>) -> io::Result<()>;

    /// Stops accepting for a listener: what waits in the backlogs of its sockets is still taken, then they are closed. It
    /// returns at once. Sockets that the listener gets afterwards are not meant.
    fn unlisten(&self, listener: &Arc<Listener>);

    /// The same for all listeners.
    fn drain(&self);

    /// Whether any socket is accepted from.
    fn is_accepting(&self) -> bool;

    /// A listener has no connection any more, and will not be listened for: what is kept for it can go.
    fn forget(&self, listener: &Arc<Listener>);

    /// Has every connection see, soon, that something has changed, such as a [`ClosingCell`](crate::ClosingCell)
    /// ([`Connection::on_change`](crate::Connection::on_change)), and run once then.
    fn run_all(&self);

    /// Has a connection of a listener's, by its id, go to another worker, where this scheduler moves connections. It returns at
    /// once; a connection that can't go now stays. False: connections have no worker of their own, or there is no such one.
    fn move_to(&self, listener: &Arc<Listener>, id: u64, worker: usize) -> bool {
        let _ = (listener, id, worker);
        false
    }

    /// Sends all connections away, as soon as each has a server. It returns at once, and is called once.
    fn evacuate(&self, evacuation: Arc<Evacuation>);

    /// Takes connections of another scheduler's.
    fn adopter(&self) -> Arc<dyn Adopter>;

    /// Asks the workers whether they turn.
    fn pulse(&self) -> Arc<dyn Pulse>;

    /// Ends the connections that are left, and the workers; returns when they are gone, or after `patience`.
    fn stop(self: Box<Self>, patience: Duration);
}
