//! What the admin server reads of a proxy.

pub(crate) mod client_lists;
pub(crate) mod discoveries;
pub(crate) mod earlier;
pub(crate) mod events;
pub(crate) mod log;
pub(crate) mod reloads;
pub(crate) mod restarts;
pub(crate) mod running;
pub(crate) mod surroundings;
pub(crate) mod switches;
pub(crate) mod upgrades;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use proxy_core::backend::Stealing;
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::{Activity, Inventory, Tables, View};

use self::client_lists::ClientLists;
use self::discoveries::Discoveries;
use self::earlier::Earlier;
use self::events::Events;
use self::reloads::Reloads;
use self::restarts::Restarts;
use self::running::{Running, Runs};
use self::surroundings::Surroundings;
use self::switches::Switches;
use self::upgrades::Upgrades;

/// The running proxy, as counters and names: nothing in it can stop or slow a worker.
pub struct Observed {
    /// The schedulers, after "auto" was decided.
    pub(crate) runs: Runs,
    /// The scheduler to turn to where idle workers are to take the work of busy ones.
    pub stealing: Stealing,
    /// What all workers count of themselves.
    pub cores: Arc<PerWorker<CoreCells>>,
    /// Whether workers run connections.
    pub activity: Arc<Activity>,
    /// What is configured.
    pub tables: Arc<Tables>,
    /// What has a name.
    pub inventory: Arc<Inventory>,
    /// Switches of the scheduler.
    pub switches: Switches,
    /// Upgrades to another process.
    pub upgrades: Upgrades,
    /// What processes before counted.
    pub earlier: Earlier,
    /// Workers that died and were replaced.
    pub restarts: Restarts,
    /// How reading the configuration went, the last time.
    pub reloads: Reloads,
    /// What is logged.
    pub log: log::Log,
    /// What has changed lately.
    pub events: Arc<Events>,
    /// Files that list clients.
    pub client_lists: ClientLists,
    /// Sources that say which servers there are.
    pub discoveries: Arc<Discoveries>,
    /// Who knows the queues and the logs.
    pub surroundings: Arc<dyn Surroundings>,
    /// The text of a file that means what runs, and its hash; empty unless told.
    configuration: Mutex<(String, String)>,
    draining: AtomicBool,
}

impl Observed {
    /// A proxy whose configuration was read at `configured_at`.
    pub fn new(
        running: Running,
        stealing: Stealing,
        inventory: Arc<Inventory>,
        configured_at: SystemTime,
    ) -> Self {
        let generation = running.generation.clone();
        Self {
            runs: Runs::new(running),
            stealing,
            cores: generation.cores.clone(),
            activity: generation.activity.clone(),
            tables: generation.tables.clone(),
            inventory,
            switches: Switches::default(),
            upgrades: Upgrades::default(),
            earlier: Earlier::default(),
            restarts: Restarts::default(),
            reloads: Reloads::new(configured_at),
            log: log::Log::default(),
            events: Arc::default(),
            client_lists: ClientLists::default(),
            discoveries: Arc::default(),
            surroundings: Arc::new(()),
            configuration: Mutex::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// The scheduler that runs.
    pub fn running(&self) -> Arc<Running> {
        self.runs.running()
    }

    /// Another scheduler runs. The one before counts until [`Observed::retire`].
    pub fn switch_to(&self, running: Running) {
        self.runs.switch_to(running);
        // Who watches the workers is to see the new ones.
        self.activity.wake();
    }

    /// The schedulers that ran before have ended.
    pub fn retire(&self) {
        self.runs.retire();
    }

    /// Whether a scheduler that ran before has not ended.
    pub fn is_switching(&self) -> bool {
        self.runs.is_switching()
    }

    /// The most workers that there ever were.
    pub fn workers_ever(&self) -> usize {
        self.runs.workers_ever()
    }

    /// Time that workers of this index were busy, by their schedulers' own account.
    pub fn busy(&self, worker: usize) -> Duration {
        let counted = self
            .cores
            .sum_of_core(worker, |cells| cells.busy_nanoseconds.get());
        self.runs.busy(worker) + Duration::from_nanos(counted)
    }

    /// All that has a name, as of now.
    pub fn view(&self) -> View {
        self.inventory.view(&self.tables.current(), now())
    }

    /// With somebody who knows the queues and the logs.
    pub fn with_surroundings(self, surroundings: Arc<dyn Surroundings>) -> Self {
        Self {
            surroundings,
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
pub(super) fn now() -> Instant {
    Instant::now()
}
