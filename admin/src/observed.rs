//! What the admin server may look at.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use backend_glommio::Cells;
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::plan::WorkerThread;
use proxy_core::{Activity, Listener, Upstream};

use crate::reloads::Reloads;
use crate::surroundings::Surroundings;

/// The running proxy, as counters and names: nothing in it can stop or slow a worker.
pub struct Observed {
    /// "glommio" or "tokio", after "auto" was decided.
    pub scheduler: &'static str,
    /// "thread-per-core", "work-stealing" or "per-core".
    pub mode: &'static str,
    /// By worker.
    pub threads: Vec<WorkerThread>,
    /// By worker.
    pub cores: Arc<PerWorker<CoreCells>>,
    /// Whether a worker ran anything lately.
    pub activity: Arc<Activity>,
    /// In the order of the configuration.
    pub listeners: Vec<Arc<Listener>>,
    /// In the order of the configuration.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The scheduler's own.
    pub own: SchedulersOwn,
    /// How reading the configuration went, the last time.
    pub reloads: Reloads,
    /// Who knows the queues and the logs.
    pub surroundings: Arc<dyn Surroundings>,
    /// Names that the admin server answers to, besides those that are always its own.
    pub admin_hosts: Vec<String>,
    /// Whether Glommio moves live connections off hot cores.
    pub rebalances: bool,
    /// The text of a file that means what runs; empty unless told.
    configuration: Mutex<String>,
    draining: AtomicBool,
}

/// Counters that only one scheduler has.
pub enum SchedulersOwn {
    /// Task queues and rings; listeners are in the order of [`Observed::listeners`].
    Glommio(Cells),
    /// One handle for the shared runtime, or one a worker.
    Tokio(Vec<tokio::runtime::Handle>),
}

impl Observed {
    /// A proxy whose configuration was read at `configured_at`.
    #[expect(clippy::too_many_arguments, reason = "made once, from as many parts")]
    pub fn new(
        (scheduler, mode): (&'static str, &'static str),
        threads: Vec<WorkerThread>,
        cores: Arc<PerWorker<CoreCells>>,
        activity: Arc<Activity>,
        listeners: Vec<Arc<Listener>>,
        upstreams: Vec<Arc<Upstream>>,
        own: SchedulersOwn,
        configured_at: SystemTime,
    ) -> Self {
        Self {
            scheduler,
            mode,
            threads,
            cores,
            activity,
            listeners,
            upstreams,
            own,
            reloads: Reloads::new(configured_at),
            surroundings: Arc::new(()),
            admin_hosts: Vec::new(),
            rebalances: false,
            configuration: Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Whether the scheduler weighs listeners by shares itself.
    pub fn has_task_queues(&self) -> bool {
        matches!(self.own, SchedulersOwn::Glommio(_))
    }

    /// Time that a worker was busy, by its scheduler's own account.
    pub fn busy(&self, worker: usize) -> Duration {
        self.own
            .busy(worker)
            .unwrap_or_else(|| Duration::from_nanos(self.cores.of(worker).busy_nanoseconds.get()))
    }

    /// With somebody who knows the queues and the logs.
    pub fn with_surroundings(self, surroundings: Arc<dyn Surroundings>) -> Self {
        Self {
            surroundings,
            ..self
        }
    }

    /// With more names that the admin server answers to.
    pub fn with_admin_hosts(self, admin_hosts: Vec<String>) -> Self {
        Self {
            admin_hosts,
            ..self
        }
    }

    /// Under a Glommio that moves connections, or doesn't.
    pub fn with_rebalancing(self, rebalances: bool) -> Self {
        Self { rebalances, ..self }
    }

    /// The configuration that runs, as a file.
    pub fn configuration(&self) -> String {
        self.lock_configuration().clone()
    }

    /// Another configuration runs from now on.
    pub fn set_configuration(&self, configuration: String) {
        *self.lock_configuration() = configuration;
    }

    fn lock_configuration(&self) -> MutexGuard<'_, String> {
        self.configuration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// No listening socket takes a new connection any more.
    pub fn start_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether no new connection is taken.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}

impl SchedulersOwn {
    /// Time that a worker was busy, where only the scheduler knows it.
    fn busy(&self, worker: usize) -> Option<Duration> {
        match self {
            Self::Glommio(_) => None,
            Self::Tokio(handles) if handles.len() == 1 => {
                Some(handles[0].metrics().worker_total_busy_duration(worker))
            }
            Self::Tokio(handles) => {
                let handle = handles.get(worker)?;
                Some(handle.metrics().worker_total_busy_duration(0))
            }
        }
    }
}
