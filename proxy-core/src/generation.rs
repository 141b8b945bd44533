//! One run of a backend.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use crate::activity::Activity;
use crate::closing::ClosingCell;
use crate::metrics::{CoreCells, NoSlots, PerWorker, Row, Slot, Slots};
use crate::table::Tables;

/// What the workers of one run of a backend share: where they count, and what they read.
#[derive(Debug)]
pub struct Generation {
    row: Row,
    /// What workers count of themselves, those of other generations included.
    pub cores: Arc<PerWorker<CoreCells>>,
    /// The thread to wake when connections run again.
    pub activity: Arc<Activity>,
    /// What is configured now.
    pub tables: Arc<Tables>,
    /// Another one accepts from the same sockets, and takes the clients that wait here.
    is_succeeded: AtomicBool,
    /// The one before may still leave such clients.
    is_inheriting: AtomicBool,
    /// What is to become of the connections that its workers have.
    pub closing: ClosingCell,
}

impl Generation {
    /// One of `workers` workers, which count in slots of their own.
    ///
    /// # Errors
    /// When too many generations have not ended.
    pub fn new(
        workers: usize,
        slots: &Slots,
        cores: Arc<PerWorker<CoreCells>>,
        activity: Arc<Activity>,
        tables: Arc<Tables>,
    ) -> Result<Self, NoSlots> {
        Ok(Self {
            row: slots.lend(workers)?,
            cores,
            activity,
            tables,
            is_succeeded: AtomicBool::new(false),
            is_inheriting: AtomicBool::new(false),
            closing: ClosingCell::default(),
        })
    }

    /// Another one of the same process, of `workers` workers.
    ///
    /// # Errors
    /// When too many generations have not ended.
    pub fn successor(&self, workers: usize) -> Result<Self, NoSlots> {
        Ok(Self {
            row: self.row.slots().lend(workers)?,
            cores: self.cores.clone(),
            activity: self.activity.clone(),
            tables: self.tables.clone(),
            is_succeeded: AtomicBool::new(false),
            is_inheriting: AtomicBool::new(true),
            closing: ClosingCell::default(),
        })
    }

    /// Its successor accepts. To be called before it drains.
    pub fn succeed(&self) {
        self.is_succeeded.store(true, Release);
    }

    /// The one before accepts nobody any more.
    pub fn end_inheriting(&self) {
        if self.is_inheriting.swap(false, AcqRel) {
            // Nobody waits for such clients any more.
            self.tables.current().wake_waiting();
        }
    }

    pub(crate) fn is_succeeded(&self) -> bool {
        self.is_succeeded.load(Acquire)
    }

    pub(crate) fn is_inheriting(&self) -> bool {
        self.is_inheriting.load(Acquire)
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.row.workers()
    }

    /// The slot of the worker with this index.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn slot(&self, worker: usize) -> Slot {
        self.row.slot(worker)
    }

    /// What the worker with this index counts of itself.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn cells(&self, worker: usize) -> &CoreCells {
        self.cores.of(self.slot(worker))
    }
}
