//! What clients connect to.

pub(crate) mod acceptor;
pub(crate) mod share;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use crate::connection::end::{End, Stage, Termination};
use crate::connection::ends::Ends;
use crate::connection::live::Live;
use crate::connection::origin::Origin;
use crate::descriptors::Spare;
use crate::listener::share::Share;
use crate::metrics::{Cause, ListenerCells, PerWorker, Rejection};
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
    /// Its connections that are open now.
    pub live: Live,
    /// Whom to tell of each connection's end; none: nobody.
    pub ends: Option<Arc<Ends>>,
    limit: Option<Arc<Limit>>,
    /// Its sockets that are accepted from.
    accepting: Arc<AtomicUsize>,
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
            live: Live::new(workers),
            ends: None,
            limit: None,
            accepting: Arc::default(),
        }
    }

    /// Whether a worker still accepts from one of its sockets. Once none does, all whom the workers took are among
    /// [`Listener::connections`].
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Acquire) > 0
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

    /// Connections that it takes at a time; none: as many as come.
    pub fn max_connections(&self) -> Option<u64> {
        self.limit.as_ref().map(|limit| limit.max)
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
    pub fn give_up(self: &Arc<Self>, worker: usize, origin: Origin, now: Instant) {
        let cells = self.cells.of(worker);
        cells.rejected[Rejection::Descriptors as usize].increment();
        cells.ended[Cause::ClientError as usize].increment();
        let termination = Termination::exhausted(Stage::Queue);
        self.tell_unbegun(worker, origin, Cause::ClientError, termination, now);
    }

    /// Counts a connection that was admitted, and that a stop cut before anybody began it. The caller closes it.
    pub fn abandon(self: &Arc<Self>, worker: usize, origin: Origin, now: Instant) {
        let cause = Cause::Drain;
        self.count_end(worker, cause, Duration::ZERO);
        let termination = Termination::of(cause, Stage::Queue, None);
        self.tell_unbegun(worker, origin, cause, termination, now);
    }

    /// Tells of the end of a connection that nobody began.
    fn tell_unbegun(
        self: &Arc<Self>,
        worker: usize,
        origin: Origin,
        cause: Cause,
        termination: Termination,
        now: Instant,
    ) {
        let Some(ends) = &self.ends else {
            return;
        };
        let total = now.saturating_duration_since(origin.accepted_at);
        let end = End {
            id: self.live.id(worker),
            listener: self.clone(),
            client: origin.client,
            server: None,
            bytes_in: 0,
            bytes_out: 0,
            wait: total,
            connect: None,
            total,
            retries: 0,
            core: worker,
            cause,
            termination,
            at: now,
        };
        ends.tell(worker, end);
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

/// A count of connections that all workers share: exact, at one contended instruction a connection.
#[derive(Debug)]
struct Limit {
    max: u64,
    taken: AtomicU64,
}

/// The right to one connection, given back when dropped, and to the descriptor of its server.
#[derive(Debug)]
pub struct Permit {
    limit: Option<Arc<Limit>>,
    spare: Spare,
}

impl Permit {
    fn take(limit: Option<&Arc<Limit>>) -> Option<Self> {
        if let Some(limit) = limit {
            let more = |taken| (taken < limit.max).then_some(taken + 1);
            limit.taken.try_update(Relaxed, Relaxed, more).ok()?;
        }
        Some(Self {
            limit: limit.cloned(),
            spare: Spare::default(),
        })
    }

    /// With what was kept for it at the accept.
    #[must_use]
    pub fn with(mut self, spare: Spare) -> Self {
        self.spare = spare;
        self
    }

    /// Makes room for the server's socket.
    pub(crate) fn make_room(&mut self) {
        self.spare.give_back();
    }

    /// Gives the right on to another owner.
    pub(crate) fn hand_on(&mut self) -> Self {
        Self {
            limit: self.limit.take(),
            spare: std::mem::take(&mut self.spare),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limit) = &self.limit {
            limit.taken.fetch_sub(1, Relaxed);
        }
    }
}
