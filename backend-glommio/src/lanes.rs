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
pub(crate) struct Lanes(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    lanes: Vec<Option<Arc<Shared>>>,
    /// Of listeners that were removed and are known elsewhere still: what comes back goes on counting.
    retired: Vec<Arc<Shared>>,
}

impl Lanes {
    /// The number of a listener's lane.
    pub(crate) fn find(&self, listener: &Arc<Listener>) -> Option<u32> {
        let all = self.lock();
        let is_its = |lane: &Arc<Shared>| Arc::ptr_eq(&lane.listener, listener);
        let number = all
            .lanes
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
        let mut all = self.lock();
        let All { lanes, retired } = &mut *all;
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
        let known = retired.iter().position(is_its);
        let shared = known.map_or_else(
            || Arc::new(Shared::new(listener.clone(), workers)),
            |place| retired.swap_remove(place),
        );
        // Under the lock: nobody else finds it before.
        announce(number as u32, &shared);
        lanes[number] = Some(shared);
        number as u32
    }

    /// Frees the number of a listener's lane.
    pub(crate) fn remove(&self, number: u32) {
        let mut all = self.lock();
        let lane = all.lanes.get_mut(number as usize).and_then(Option::take);
        all.retired.extend(lane);
        all.forget();
    }

    /// What the lanes share, those that there are and those of listeners that were removed a while ago.
    pub(crate) fn all(&self) -> Vec<Arc<Shared>> {
        let mut all = self.lock();
        all.forget();
        let lanes = all.lanes.iter().flatten();
        lanes.chain(&all.retired).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    /// Forgets those of listeners that nobody else knows any more.
    fn forget(&mut self) {
        self.retired
            .retain(|lane| Arc::strong_count(&lane.listener) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_goes_on_counting_and_what_nobody_knows_is_forgotten() {
        let lanes = Lanes::default();
        let listener = Arc::new(Listener::new("web".to_owned()));
        let add = || lanes.find_or_add(&listener, 2, |_, _| {});
        let number = add();
        lanes.all()[0].queues.of(1).selected.add(7);
        lanes.remove(number);
        assert_eq!(lanes.find(&listener), None);
        let selected = || lanes.all()[0].queues.of(1).selected.get();
        assert_eq!((lanes.all().len(), selected()), (1, 7));
        add();
        assert_eq!((lanes.all().len(), selected()), (1, 7));
        lanes.remove(number);
        drop(listener);
        assert!(lanes.all().is_empty());
    }
}
