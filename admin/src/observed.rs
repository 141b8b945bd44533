//! What the admin server may look at.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use proxy_core::backend::{OwnMetrics, Profile, Stealing, WorkerThread};
use proxy_core::{Generation, Inventory, View};

use crate::reloads::Reloads;
use crate::surroundings::Surroundings;

/// The running proxy, as counters and names: nothing in it can stop or slow a worker.
pub struct Observed {
    /// The scheduler that runs, after "auto" was decided.
    pub profile: Profile,
    /// The scheduler to turn to where idle workers are to take the work of busy ones.
    pub stealing: Stealing,
    /// By worker.
    pub threads: Vec<WorkerThread>,
    /// What the workers share: where they count, and what is configured.
    pub generation: Arc<Generation>,
    /// What has a name.
    pub inventory: Arc<Inventory>,
    /// What only this scheduler counts.
    pub own: Arc<dyn OwnMetrics>,
    /// How reading the configuration went, the last time.
    pub reloads: Reloads,
    /// Who knows the queues and the logs.
    pub surroundings: Arc<dyn Surroundings>,
    /// Names that the admin server answers to, besides those that are always its own.
    pub admin_hosts: Vec<String>,
    /// The text of a file that means what runs, and its hash; empty unless told.
    configuration: Mutex<(String, String)>,
    draining: AtomicBool,
}

impl Observed {
    /// A proxy whose configuration was read at `configured_at`.
    pub fn new(
        (profile, stealing): (Profile, Stealing),
        threads: Vec<WorkerThread>,
        generation: Arc<Generation>,
        inventory: Arc<Inventory>,
        own: Arc<dyn OwnMetrics>,
        configured_at: SystemTime,
    ) -> Self {
        Self {
            profile,
            stealing,
            threads,
            generation,
            inventory,
            own,
            reloads: Reloads::new(configured_at),
            surroundings: Arc::new(()),
            admin_hosts: Vec::new(),
            configuration: Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Time that a worker was busy, by its scheduler's own account.
    pub fn busy(&self, worker: usize) -> Duration {
        self.own.busy(worker).unwrap_or_else(|| {
            let cores = &self.generation.cores;
            Duration::from_nanos(cores.sum_of_core(worker, |cells| cells.busy_nanoseconds.get()))
        })
    }

    /// All that has a name, as of now.
    pub fn view(&self) -> View {
        self.inventory
            .view(&self.generation.tables.current(), now())
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

    /// The configuration that runs, as a file.
    pub fn configuration(&self) -> String {
        self.lock_configuration().0.clone()
    }

    /// The hash of the configuration that runs.
    pub fn configuration_hash(&self) -> String {
        self.lock_configuration().1.clone()
    }

    /// Another configuration runs from now on: as a file, and its hash.
    pub fn set_configuration(&self, configuration: String, hash: String) {
        *self.lock_configuration() = (configuration, hash);
    }

    fn lock_configuration(&self) -> MutexGuard<'_, (String, String)> {
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

#[expect(
    clippy::disallowed_methods,
    reason = "what was removed is shown for a while"
)]
fn now() -> Instant {
    Instant::now()
}
