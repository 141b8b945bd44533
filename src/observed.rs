//! What the admin server may look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use backend_glommio::QueueCells;
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::plan::WorkerThread;
use proxy_core::{Activity, Listener, Upstream};

use crate::backlog::Backlogs;
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
    /// When the configuration was last read with success.
    pub(crate) configured_at: SystemTime,
    /// What waits to be accepted, by listener.
    pub(crate) backlogs: Backlogs,
    /// The text of a file that means what runs; empty unless told.
    pub(crate) configuration: String,
    draining: AtomicBool,
}

/// Counters that only one scheduler has.
pub(crate) enum SchedulersOwn {
    /// Task queues: by worker, then by listener in the order of [`Observed::listeners`].
    Glommio(Arc<PerWorker<Box<[QueueCells]>>>),
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
            configured_at,
            backlogs: Backlogs::default(),
            configuration: String::new(),
            draining: AtomicBool::new(false),
        }
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

    /// With the configuration to show.
    pub(crate) fn with_configuration(self, configuration: String) -> Self {
        Self {
            configuration,
            ..self
        }
    }

    /// New connections are refused from now on, as soon as the workers have closed their listening sockets.
    pub(crate) fn start_draining(&self) {
        self.backlogs.close();
        self.draining.store(true, Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}
