//! Which lane belongs to which listener, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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

/// Says that a core has, or is about to make, a lane of a number.
#[derive(Debug)]
pub(crate) struct InUse;

#[derive(Debug, Default)]
struct All {
    lanes: Vec<Number>,
    /// Of listeners that were removed and are known elsewhere still: what comes back goes on counting.
    retired: Vec<Arc<Shared>>,
}

/// What a number stands for.
#[derive(Debug, Default)]
struct Number {
    lane: Option<Arc<Shared>>,
    /// Held by each core until its lane has ended.
    in_use: Weak<InUse>,
}

impl Number {
    /// Whether another listener's lanes may have it: an order for those must not reach one that has not ended yet.
    fn is_free(&self) -> bool {
        self.lane.is_none() && self.in_use.strong_count() == 0
    }
}

impl Lanes {
    /// The number of a listener's lane.
    pub(crate) fn find(&self, listener: &Arc<Listener>) -> Option<u32> {
        let all = self.lock();
        let is_its = |lane: &Arc<Shared>| Arc::ptr_eq(&lane.listener, listener);
        let number = all
            .lanes
            .iter()
            .position(|number| number.lane.as_ref().is_some_and(is_its));
        number.map(|number| number as u32)
    }

    /// The number of a listener's lane, after `announce` has told all cores of it if there was none.
    pub(crate) fn find_or_add(
        &self,
        listener: &Arc<Listener>,
        workers: usize,
        announce: impl FnOnce(u32, &Arc<Shared>, &Arc<InUse>),
    ) -> u32 {
        let mut all = self.lock();
        let All { lanes, retired } = &mut *all;
        let is_its = |lane: &Arc<Shared>| Arc::ptr_eq(&lane.listener, listener);
        if let Some(number) = lanes
            .iter()
            .position(|number| number.lane.as_ref().is_some_and(is_its))
        {
            return number as u32;
        }
        let number = lanes.iter().position(Number::is_free).unwrap_or_else(|| {
            lanes.push(Number::default());
            lanes.len() - 1
        });
        let known = retired.iter().position(is_its);
        let shared = known.map_or_else(
            || Arc::new(Shared::new(listener.clone(), workers)),
            |place| retired.swap_remove(place),
        );
        // Under the lock: nobody else finds it before.
        let in_use = Arc::new(InUse);
        announce(number as u32, &shared, &in_use);
        lanes[number] = Number {
            lane: Some(shared),
            in_use: Arc::downgrade(&in_use),
        };
        number as u32
    }

    /// Frees the number of a listener's lane.
    pub(crate) fn remove(&self, number: u32) {
        let mut all = self.lock();
        let number = all.lanes.get_mut(number as usize);
        let lane = number.and_then(|number| number.lane.take());
        all.retired.extend(lane);
        all.forget();
    }

    /// What the lanes share, those that there are and those of listeners that were removed a while ago.
    pub(crate) fn all(&self) -> Vec<Arc<Shared>> {
        let mut all = self.lock();
        all.forget();
        let lanes = all.lanes.iter().filter_map(|number| number.lane.as_ref());
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
        let add = || lanes.find_or_add(&listener, 2, |_, _, _| {});
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

    #[test]
    fn a_number_is_used_again_once_no_core_has_a_lane_of_it() {
        let lanes = Lanes::default();
        let [one, other] = ["a", "b"].map(|name| Arc::new(Listener::new(name.to_owned())));
        let mut kept = None;
        let keep = |_, _: &_, in_use: &Arc<InUse>| kept = Some(in_use.clone());
        assert_eq!(lanes.find_or_add(&one, 2, keep), 0);
        lanes.remove(0);
        // A core still has it.
        assert_eq!(lanes.find_or_add(&other, 2, |_, _, _| {}), 1);
        drop(kept);
        assert_eq!(lanes.find_or_add(&one, 2, |_, _, _| {}), 0);
        assert_eq!(lanes.find_or_add(&other, 2, |_, _, _| {}), 1);
    }
}
