//! What the admin server may look at.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use backend_glommio::Cells;
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::plan::WorkerThread;
use proxy_core::{Activity, Listener, Upstream};

use crate::access_log;
use crate::backlog::Backlogs;
use crate::reload::Reloads;
use crate::scheduler::Choice;

/// The running proxy, as counters and names: nothing in it can stop or slow a worker.
pub(crate) struct Observed {
    /// "glommio" or "tokio", after "auto" was decided.
    pub(crate) scheduler: &'static str,
    /// "thread-per-core", "work-stealing" or "per-core".
    pub(crate) mode: &'static str,
    /// By worker.
    pub(crate) threads: Vec<WorkerThread>,
    pub(crate) cores: Arc<PerWorker<CoreCells>>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) own: SchedulersOwn,
    /// How reading the configuration went, the last time.
    pub(crate) reloads: Reloads,
    /// What waits to be accepted, by listener.
    pub(crate) backlogs: Backlogs,
    /// None: there is no access log.
    pub(crate) access_log: Option<Arc<access_log::Shared>>,
    /// Names that the admin server answers to, besides those that are always its own.
    pub(crate) admin_hosts: Vec<String>,
    /// Whether Glommio moves live connections off hot cores.
    pub(crate) rebalances: bool,
    /// The text of a file that means what runs; empty unless told.
    configuration: Mutex<String>,
    draining: AtomicBool,
}

/// Counters that only one scheduler has.
pub(crate) enum SchedulersOwn {
    /// Task queues and rings; listeners are in the order of [`Observed::listeners`].
    Glommio(Cells),
    /// One handle for the shared runtime, or one a worker.
    Tokio(Vec<tokio::runtime::Handle>),
}

impl Observed {
    #[expect(clippy::too_many_arguments, reason = "made once, from as many parts")]
    pub(crate) fn new(
        choice: Choice,
        threads: Vec<WorkerThread>,
        cores: Arc<PerWorker<CoreCells>>,
        activity: Arc<Activity>,
        listeners: Vec<Arc<Listener>>,
        upstreams: Vec<Arc<Upstream>>,
        own: SchedulersOwn,
        configured_at: SystemTime,
    ) -> Self {
        Self {
            scheduler: choice.scheduler(),
            mode: choice.mode(),
            threads,
            cores,
            activity,
            listeners,
            upstreams,
            own,
            reloads: Reloads::new(configured_at),
            backlogs: Backlogs::default(),
            access_log: None,
            admin_hosts: Vec::new(),
            rebalances: false,
            configuration: Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Whether the scheduler weighs listeners by shares itself.
    pub(crate) fn has_task_queues(&self) -> bool {
        matches!(self.own, SchedulersOwn::Glommio(_))
    }

    /// Time that a worker was busy, by its scheduler's own account.
    pub(crate) fn busy(&self, worker: usize) -> Duration {
        self.own
            .busy(worker)
            .unwrap_or_else(|| Duration::from_nanos(self.cores.of(worker).busy_nanoseconds.get()))
    }

    /// With the listening sockets to look at.
    pub(crate) fn with_backlogs(self, backlogs: Backlogs) -> Self {
        Self { backlogs, ..self }
    }

    /// With the access log to count.
    pub(crate) fn with_access_log(self, access_log: Option<Arc<access_log::Shared>>) -> Self {
        Self { access_log, ..self }
    }

    /// With more names that the admin server answers to.
    pub(crate) fn with_admin_hosts(self, admin_hosts: Vec<String>) -> Self {
        Self {
            admin_hosts,
            ..self
        }
    }

    /// Under a Glommio that moves connections, or doesn't.
    pub(crate) fn with_rebalancing(self, rebalances: bool) -> Self {
        Self { rebalances, ..self }
    }

    /// The configuration that runs, as a file.
    pub(crate) fn configuration(&self) -> String {
        self.lock_configuration().clone()
    }

    /// Another configuration runs from now on.
    pub(crate) fn set_configuration(&self, configuration: String) {
        *self.lock_configuration() = configuration;
    }

    fn lock_configuration(&self) -> MutexGuard<'_, String> {
        self.configuration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// No listening socket takes a new connection from now on. They are refused as soon as the workers have emptied
    /// their backlogs and closed them.
    pub(crate) fn start_draining(&self) {
        self.backlogs.stop_taking();
        self.draining.store(true, Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}
