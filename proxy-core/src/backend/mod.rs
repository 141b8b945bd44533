//! A scheduler, as the rest of the proxy sees it: what it is asked to start, what it can be told, what it is capable of
//! and what only it counts.

mod own;
mod profile;

pub use self::own::{OwnFamily, OwnKind, OwnMetrics, OwnSample};
pub use self::profile::{BindSockets, Evening, Profile, Stealing};

use std::sync::Arc;
use std::time::Duration;

use crate::generation::Generation;
use crate::lifeline::Deaths;
use crate::listener::Listener;
use crate::listener::settings::ListenerSettings;
use crate::transport::Descriptor;

/// Prefix of the workers' thread names; the worker's index follows.
pub const WORKER_THREAD_PREFIX: &str = "corelane-w";

/// Workers, and the listeners that they serve.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One worker each: the CPU that it is pinned to, or none to leave that to the kernel.
    pub cpus: Vec<Option<usize>>,
    /// What the workers share: as many as there are CPUs.
    pub generation: Arc<Generation>,
    /// The listeners, whose sockets come with [`Backend::listen`].
    pub listeners: Vec<Arc<Listener>>,
    /// Where a worker's death is reported.
    pub deaths: Deaths,
}

/// A listener with its sockets.
#[derive(Debug)]
pub struct Listening {
    /// The listener, with the settings that its first connections have.
    pub settings: Arc<ListenerSettings>,
    /// One entry a bind address: the sockets, one for each worker that accepts by itself, or a single one where
    /// workers share.
    pub sockets: Vec<Vec<Descriptor>>,
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

    /// Starts accepting: called once, with the listeners in the order of [`Plan::listeners`] and sockets that listen.
    ///
    /// Before it, the workers run and nothing of the outside can reach them: a start that fails in between has
    /// accepted no client. What fails from here on is a worker's death.
    fn listen(&mut self, listening: Vec<Listening>);

    /// Stops accepting: what waits in the backlogs is still taken, then the sockets are closed. Connections go
    /// on. It returns at once.
    fn drain(&self);

    /// Ends the connections that are left, and the workers; returns when they are gone, or after `patience`.
    fn stop(self: Box<Self>, patience: Duration);
}
