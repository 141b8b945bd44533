//! What clients connect to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::metrics::{Cause, ListenerCells, PerWorker, Rejection};
use crate::share::Share;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// One listener: everything but its sockets.
#[derive(Debug)]
pub struct Listener {
    /// The label `listener`.
    pub name: String,
    /// Where its connections go.
    pub upstream: Arc<Upstream>,
    /// Its connections' part of the CPU against other listeners'.
    pub share: Share,
    /// How soon its connections want to run; none: throughput is what matters.
    pub latency: Option<Duration>,
    /// How long both sides may be silent; none: for ever.
    pub idle_timeout: Option<Duration>,
    /// Whether bulk may go through pipes, uncopied.
    pub splice: bool,
    /// What each worker counts of it.
    pub cells: PerWorker<ListenerCells>,
    limit: Option<Arc<Limit>>,
}

impl Listener {
    /// A listener in front of `upstream`, without limits.
    pub fn new(name: String, upstream: Arc<Upstream>, workers: usize) -> Self {
        Self {
            name,
            upstream,
            share: Share::default(),
            latency: None,
            idle_timeout: None,
            splice: true,
            cells: PerWorker::new(workers, ListenerCells::default),
            limit: None,
        }
    }

    /// Takes at most `max` connections at a time; those beyond are closed at once.
    #[must_use]
    pub fn with_max_connections(mut self, max: u64) -> Self {
        self.limit = Some(Arc::new(Limit {
            max,
            taken: AtomicU64::new(0),
        }));
        self
    }

    /// Asks for one more connection.
    ///
    /// # Errors
    /// [`Rejection::MaxConnections`], counted: the caller closes the connection.
    pub fn admit(&self, worker: &Worker) -> Result<Permit, Rejection> {
        worker.activity.note();
        let cells = self.cells.of(worker.index);
        match Permit::take(self.limit.as_ref()) {
            Some(permit) => {
                cells.accepted.increment();
                Ok(permit)
            }
            None => {
                let rejection = Rejection::MaxConnections;
                cells.rejected[rejection as usize].increment();
                Err(rejection)
            }
        }
    }

    /// Counts a connection that was admitted and could not be taken on: the scheduler's source of readiness is
    /// full. The caller drops its permit and closes it.
    pub fn give_up(&self, worker: usize) {
        let cells = self.cells.of(worker);
        cells.rejected[Rejection::Descriptors as usize].increment();
        cells.ended[Cause::ClientError as usize].increment();
    }

    /// Counts a connection that was admitted, and that a stop cut before anybody began it. The caller closes it.
    pub fn abandon(&self, worker: usize) {
        self.count_end(worker, Cause::Drain, Duration::ZERO);
    }

    /// Counts a connection that `worker` ended.
    pub(crate) fn count_end(&self, worker: usize, cause: Cause, lasted: Duration) {
        let cells = self.cells.of(worker);
        cells.ended[cause as usize].increment();
        cells.duration.observe(lasted);
    }

    /// Connections that are open now, over all workers.
    pub fn connections(&self) -> u64 {
        // Ends first, lest one that comes meanwhile make the difference negative.
        let ended = self
            .cells
            .sum(|cells| cells.ended.iter().map(|cause| cause.get()).sum());
        self.cells
            .sum(|cells| cells.accepted.get())
            .saturating_sub(ended)
    }
}

/// A count of connections that all workers share: exact, at one contended instruction a connection.
#[derive(Debug)]
struct Limit {
    max: u64,
    taken: AtomicU64,
}

/// The right to one connection, given back when dropped.
#[derive(Debug)]
pub struct Permit(Option<Arc<Limit>>);

impl Permit {
    fn take(limit: Option<&Arc<Limit>>) -> Option<Self> {
        let Some(limit) = limit else {
            return Some(Self(None));
        };
        limit
            .taken
            .try_update(Relaxed, Relaxed, |taken| {
                (taken < limit.max).then_some(taken + 1)
            })
            .ok()
            .map(|_| Self(Some(limit.clone())))
    }
}

impl Permit {
    /// Gives the right on to another owner.
    pub(crate) fn hand_on(&mut self) -> Self {
        Self(self.0.take())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limit) = &self.0 {
            limit.taken.fetch_sub(1, Relaxed);
        }
    }
}
