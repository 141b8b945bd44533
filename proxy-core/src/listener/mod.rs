//! What clients connect to.
//!
//! A [`Listener`] is known by its name and goes on counting over every change of the configuration. What an operator can
//! change of it are its [`ListenerSettings`](settings::ListenerSettings), which never change: others take their place.

pub(crate) mod acceptor;
mod left;
pub(crate) mod ordered;
pub(crate) mod permit;
pub(crate) mod settings;
pub(crate) mod share;
pub(crate) mod state;
pub(crate) mod times;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use crate::admission::bandwidth::Bandwidth;
use crate::admission::limits::{Counted, Total};
use crate::closing::ClosingCell;
use crate::connection::live::Live;
use crate::id::Id;
use crate::listener::left::Left;
use crate::listener::ordered::OrderedEnds;
use crate::listener::share::Share;
use crate::listener::state::{ListenerState, StateCell};
use crate::metrics::{Cause, ListenerCells, PerWorker, Slot};
use crate::route::RouteNames;

/// One listener, as long as it is known: everything but its sockets and its settings.
#[derive(Debug)]
pub struct Listener {
    /// Connections that were admitted and are open: exact, at one contended instruction a connection.
    taken: AtomicU64,
    /// Connections that came from another process, and that went to one.
    crossings: Crossings,
    /// Unlike that of all others.
    pub id: Id,
    /// The label `listener`.
    pub name: String,
    /// Its connections' part of the CPU against other listeners'. It follows the settings that are in force, for
    /// connections of all settings.
    pub share: Share,
    /// What each worker counts of it.
    pub cells: PerWorker<ListenerCells>,
    /// Its connections that are open now.
    pub live: Live,
    /// How fast its connections may be.
    pub bandwidth: Bandwidth,
    /// What limits need to know of it.
    pub counted: Counted,
    /// What is counted of its routes.
    pub routes: RouteNames,
    /// Its clients that wait between two schedulers.
    left: Left,
    /// Its sockets that are accepted from.
    accepting: Arc<AtomicUsize>,
    /// What is to become of its connections once it was removed.
    pub closing: ClosingCell,
    /// Those of its connections that somebody wants to end.
    pub ordered_ends: OrderedEnds,
    state: StateCell,
}

impl Listener {
    /// A listener that nothing is counted of yet, of a process of its own.
    pub fn new(name: String) -> Self {
        Self::of(name, Arc::default())
    }

    /// The same, of a process whose connections `total` counts.
    pub(crate) fn of(name: String, total: Arc<Total>) -> Self {
        Self {
            counted: Counted::new(total),
            bandwidth: Bandwidth::default(),
            taken: AtomicU64::new(0),
            crossings: Crossings::default(),
            id: Id::next(),
            name,
            share: Share::default(),
            cells: PerWorker::default(),
            live: Live::default(),
            routes: RouteNames::default(),
            left: Left::default(),
            accepting: Arc::default(),
            closing: ClosingCell::default(),
            ordered_ends: OrderedEnds::default(),
            state: StateCell::default(),
        }
    }

    /// Whether it takes clients, as somebody wants it.
    pub fn state(&self) -> ListenerState {
        self.state.get()
    }

    /// It is to take clients, or not, from now on: for who owns its sockets.
    pub fn set_state(&self, state: ListenerState) {
        self.state.set(state);
    }

    /// Whether a worker still accepts from one of its sockets. Once none does, all clients that the workers took are among
    /// [`Listener::connections`].
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Acquire) > 0
    }

    /// Connections that are open now, over all workers.
    pub fn connections(&self) -> u64 {
        // Ends first, so that one that comes meanwhile doesn't make the difference negative.
        let gone = self.crossings.gone.load(SeqCst);
        let ended = self
            .cells
            .sum(|cells| cells.ended.iter().map(|cause| cause.get()).sum());
        let accepted = self.cells.sum(|cells| cells.accepted.get());
        let come = self.crossings.come.load(SeqCst);
        (accepted + come).saturating_sub(ended + gone)
    }

    /// Counts a connection that comes from another process, whatever the limits are.
    pub(crate) fn on_come(&self) {
        self.crossings.come.fetch_add(1, SeqCst);
    }

    /// Counts one that goes to another process.
    pub(crate) fn on_gone(&self) {
        self.crossings.gone.fetch_add(1, SeqCst);
    }

    /// Counts a connection that a worker ended.
    pub(crate) fn count_end(&self, slot: Slot, cause: Cause, lasted: Duration) {
        let cells = self.cells.of(slot);
        cells.ended[cause as usize].increment();
        cells.duration.observe(lasted);
    }

    /// Counts one more connection, unless there are `max` already.
    pub(crate) fn take(&self, max: Option<u64>) -> bool {
        match max {
            // Without a limit they are counted, too, as there may be one before they end.
            None => {
                self.taken.fetch_add(1, Relaxed);
                true
            }
            Some(max) => {
                let more = |taken| (taken < max).then_some(taken + 1);
                // In one order with who waits: see `Waiters::on_end`.
                self.taken.try_update(SeqCst, SeqCst, more).is_ok()
            }
        }
    }

    /// Whether there are `max`.
    pub(crate) fn is_full(&self, max: Option<u64>) -> bool {
        max.is_some_and(|max| self.taken.load(SeqCst) >= max)
    }

    /// One that was taken is over.
    pub(crate) fn release(&self) {
        self.taken.fetch_sub(1, SeqCst);
    }
}

/// Connections that crossed from or to another process, over all workers.
#[derive(Debug, Default)]
struct Crossings {
    come: AtomicU64,
    gone: AtomicU64,
}

/// One socket that is accepted from, until it is dropped.
#[derive(Debug)]
pub(crate) struct Accepting(Arc<AtomicUsize>);

impl Accepting {
    pub(crate) fn new(listener: &Listener) -> Self {
        listener.accepting.fetch_add(1, Relaxed);
        Self(listener.accepting.clone())
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        // Who sees it sees the connections that were counted before, too.
        self.0.fetch_sub(1, Release);
    }
}
