//! Which lane is which listener's, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::Listener;
use proxy_core::metrics::ByIndex;

use crate::cells::QueueCells;

/// What the lanes of one listener share, a lane a core.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) listener: Arc<Listener>,
    /// Which core gets the next connection, where they take turns.
    turn: AtomicUsize,
    /// By worker.
    pub(crate) queues: ByIndex<QueueCells>,
}

impl Shared {
    pub(crate) fn new(listener: Arc<Listener>, workers: usize) -> Self {
        Self {
            listener,
            turn: AtomicUsize::new(0),
            queues: ByIndex::new(workers, QueueCells::default),
        }
    }

    /// Whose turn it is.
    pub(crate) fn next_turn(&self, cores: usize) -> usize {
        self.turn.fetch_add(1, Relaxed) % cores
    }
}

/// The lanes, by their number, which is the same on all cores.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<Vec<Option<Arc<Shared>>>>);

impl Lanes {
    /// The number of a listener's lane.
    pub(crate) fn find(&self, listener: &Arc<Listener>) -> Option<u32> {
        let lanes = self.lock();
        let is_its = |lane: &Arc<Shared>| Arc::ptr_eq(&lane.listener, listener);
        let number = lanes
            .iter()
            .position(|lane| lane.as_ref().is_some_and(is_its));
        number.map(|number| number as u32)
    }

    /// The number of a listener's lane, after `announce` has told all cores of it if there was none.
    pub(crate) fn find_or_add(
        &self,
        listener: &Arc<Listener>,
        workers: usize,
        announce: impl FnOnce(u32, &Arc<Shared>),
    ) -> u32 {
        let mut lanes = self.lock();
        let is_its = |lane: &Arc<Shared>| Arc::ptr_eq(&lane.listener, listener);
        if let Some(number) = lanes
            .iter()
            .position(|lane| lane.as_ref().is_some_and(is_its))
        {
            return number as u32;
        }
        let number = lanes.iter().position(Option::is_none).unwrap_or_else(|| {
            lanes.push(None);
            lanes.len() - 1
        });
        let shared = Arc::new(Shared::new(listener.clone(), workers));
        // Under the lock: nobody else finds it before.
        announce(number as u32, &shared);
        lanes[number] = Some(shared);
        number as u32
    }

    /// Frees the number of a listener's lane.
    pub(crate) fn remove(&self, number: u32) {
        if let Some(lane) = self.lock().get_mut(number as usize) {
            *lane = None;
        }
    }

    /// What the lanes share, those that there are.
    pub(crate) fn all(&self) -> Vec<Arc<Shared>> {
        self.lock().iter().flatten().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Arc<Shared>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
