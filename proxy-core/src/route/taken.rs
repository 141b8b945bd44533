//! What is counted of a listener's routes, by their names, over every change of the configuration.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::Id;
use crate::metrics::{Counter, PerSlot, Slot};

/// Names of routes of one listener that are kept besides those in use. Of more, those that were removed first are forgotten.
pub const ROUTE_NAMES_KEPT_MAX: usize = 256;

/// A route, as long as its name is known.
#[derive(Debug)]
pub struct Route {
    /// Unlike that of all others.
    pub id: Id,
    /// The label `route`.
    pub name: String,
    /// Connections that took it.
    taken: PerSlot<Counter>,
    /// Turns of the upstreams by weight.
    pub(super) turns: AtomicU64,
}

/// The routes of one listener, by their names.
#[derive(Debug, Default)]
pub struct RouteNames(Mutex<Vec<Arc<Route>>>);

/// A route is itself only.
impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Route {}

impl Route {
    fn new(name: &str) -> Self {
        Self {
            id: Id::next(),
            name: name.to_owned(),
            taken: PerSlot::default(),
            turns: AtomicU64::new(0),
        }
    }

    /// Connections that took it, over all workers.
    pub fn connections(&self) -> u64 {
        self.taken.iter().map(Counter::get).sum()
    }

    /// Turns of its upstreams so far.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    /// There were so many in other processes: the next one follows.
    pub(crate) fn go_on(&self, turns: u64) {
        self.turns.store(turns, Relaxed);
    }

    /// A connection takes it. On the thread of the worker that has the slot only.
    pub(crate) fn count(&self, slot: Slot) {
        self.taken.of(slot).increment();
    }
}

impl RouteNames {
    /// The routes of these names, which are those in use from now on. Those of one name are one.
    pub fn of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Arc<Route>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by_name = known
            .iter()
            .map(|route| (route.name.clone(), route.clone()));
        let mut by_name: HashMap<_, _> = by_name.collect();
        let routes: Vec<_> = names
            .into_iter()
            .map(|name| {
                let route = by_name.entry(name.to_owned()).or_insert_with(|| {
                    let route = Arc::new(Route::new(name));
                    known.push(route.clone());
                    route
                });
                route.clone()
            })
            .collect();
        drop(by_name);
        forget(&mut known);
        routes
    }

    /// The route of this name, whether or not it is in use.
    pub(crate) fn known(&self, name: &str) -> Arc<Route> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = known.iter().find(|route| route.name == name) {
            return route.clone();
        }
        let route = Arc::new(Route::new(name));
        known.push(route.clone());
        forget(&mut known);
        route
    }

    /// All that are known.
    pub fn all(&self) -> Vec<Arc<Route>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Forgets those that nobody has any more, beyond the bound.
fn forget(known: &mut Vec<Arc<Route>>) {
    let unused = known
        .iter()
        .filter(|route| Arc::strong_count(route) == 1)
        .count();
    let mut surplus = unused.saturating_sub(ROUTE_NAMES_KEPT_MAX);
    known.retain(|route| {
        let goes = surplus > 0 && Arc::strong_count(route) == 1;
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Slots;

    #[test]
    fn a_name_that_comes_back_goes_on_counting() {
        let names = RouteNames::default();
        let slot = Slots::default().lend(1).expect("there is room").slot(0);
        let first = names.of(["a", "b", "a"]);
        assert!(Arc::ptr_eq(&first[0], &first[2]));
        first[0].count(slot);
        drop(first);
        drop(names.of(["b"]));
        assert_eq!(names.of(["a"])[0].connections(), 1);
    }

    #[test]
    fn names_that_are_gone_are_bounded_and_those_in_use_stay() {
        let names = RouteNames::default();
        let used = names.of(["used"]);
        for turn in 0..ROUTE_NAMES_KEPT_MAX + 50 {
            drop(names.of([&format!("r{turn}")[..]]));
        }
        let last = names.of(["last"]);
        let all = names.all();
        assert_eq!(all.len(), ROUTE_NAMES_KEPT_MAX + 2);
        assert!(Arc::ptr_eq(&all[0], &used[0]) && Arc::ptr_eq(&all[all.len() - 1], &last[0]));
    }
}
