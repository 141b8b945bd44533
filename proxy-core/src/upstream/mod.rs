//! Where connections go.
//!
//! An [`Upstream`] and its [`Server`]s are known by their names and go on counting over every change of the configuration.
//! What an operator can change of them is a [`Pool`], which never changes: another one takes its place.

pub(crate) mod address;
pub(crate) mod addresses;
pub(crate) mod agent;
pub(crate) mod board;
pub(crate) mod by_hand;
mod connect_time;
pub(crate) mod ejection;
pub(crate) mod health;
pub(crate) mod load;
pub(crate) mod outage;
pub(crate) mod policy;
pub(crate) mod pool;
pub(crate) mod queue;
pub(crate) mod rest;
pub(crate) mod retry_budget;
pub(crate) mod send_proxy;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod taken;
pub(crate) mod warmth;
pub(crate) mod witness;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use crate::carry::{COUNT_MAX, Error, Fields, Writer};
use crate::id::Id;
use crate::metrics::{PerWorker, UpstreamCells};
use crate::upstream::board::Board;
use crate::upstream::ejection::jury::Jury;
use crate::upstream::load::Load;
use crate::upstream::policy::turns::{Turn, Turns};
use crate::upstream::queue::Queue;
use crate::upstream::queue::followers::{Followers, HasQueue};
use crate::upstream::retry_budget::RetryBudget;
use crate::upstream::witness::Witness;

/// A set of servers that are as good as each other, as long as it is known.
#[derive(Debug)]
pub struct Upstream {
    /// Unlike that of all others.
    pub id: Id,
    /// The label `upstream`.
    pub name: String,
    /// What each worker counts of it.
    pub cells: PerWorker<UpstreamCells>,
    pub(crate) turns: Turns,
    /// What is decided of its servers together.
    pub(crate) jury: Jury,
    pub(crate) backup_turns: Turns,
    /// Of which nothing is asked where none is configured.
    pub(crate) retry_budget: RetryBudget,
    pub(crate) common: Arc<Common>,
}

/// What an upstream's servers share.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// Connections to all of them.
    pub(crate) load: Load,
    pub(crate) board: Board,
    /// How often an agent gave one of them another share of its weight.
    pub(crate) share_changes: AtomicU32,
    /// Connections that wait for places.
    pub(crate) queue: Queue,
    /// Upstreams that this one stands in for, of which connections wait.
    pub(crate) followers: Followers,
    /// None: nobody wants to know.
    pub(crate) witness: Option<Arc<dyn Witness>>,
}

impl Common {
    /// A place was given back. Not with a lock of the upstream held.
    pub(crate) fn on_free(&self) {
        self.queue.on_free();
        self.followers.on_free();
    }

    /// Something else has changed that says who can serve.
    pub(crate) fn on_change(&self) {
        self.queue.on_change();
        self.followers.on_change();
    }
}

impl HasQueue for Common {
    fn queue(&self) -> &Queue {
        &self.queue
    }
}

impl Upstream {
    /// An upstream that nothing is counted of yet.
    pub fn new(name: String) -> Self {
        Self::witnessed(name, None)
    }

    /// The same where somebody is told what becomes of its servers.
    pub(crate) fn witnessed(name: String, witness: Option<Arc<dyn Witness>>) -> Self {
        let common = Common {
            witness,
            ..Common::default()
        };
        Self {
            id: Id::next(),
            name,
            cells: PerWorker::default(),
            turns: Turns::default(),
            jury: Jury::default(),
            backup_turns: Turns::default(),
            retry_budget: RetryBudget::default(),
            common: Arc::new(common),
        }
    }

    /// Connections to its servers, over all workers, connects under way included.
    pub fn connections(&self) -> u64 {
        self.common.load.get()
    }

    /// Connections that wait for a place, as all servers are full, over all workers. They are among those of
    /// [`Upstream::queue`].
    pub fn slot_queue(&self) -> u64 {
        self.common.queue.len() as u64
    }

    /// Since when the first of them waits; none: nobody does.
    pub fn slot_queue_since(&self) -> Option<Instant> {
        self.common.queue.since()
    }

    /// How long each of them may wait, at most.
    pub fn longest_slot_wait(&self) -> Duration {
        self.common.queue.longest_wait()
    }

    /// Connections that wait for a server, over all workers.
    pub fn queue(&self) -> u64 {
        // A wait may end on another worker than it began on, so only the sum means something.
        let over = self.cells.sum(|cells| cells.waits_over.get());
        let begun = self.cells.sum(|cells| cells.waits_begun.get());
        begun.saturating_sub(over)
    }
}

mod tag {
    use crate::carry::SKIPPED_FROM;

    pub(super) const TURNS: u8 = 0;
    pub(super) const OTHER_TURNS: u8 = 1;
    pub(super) const BACKUP_TURNS: u8 = 2;
    pub(super) const OTHER_BACKUP_TURNS: u8 = 3;
    pub(super) const RETRY_BUDGET: u8 = 4;
    pub(super) const LINE: u8 = SKIPPED_FROM;
}

impl Upstream {
    fn all_turns(&self) -> [(u8, &Turn); 4] {
        [
            (tag::TURNS, &self.turns.first),
            (tag::OTHER_TURNS, &self.turns.another),
            (tag::BACKUP_TURNS, &self.backup_turns.first),
            (tag::OTHER_BACKUP_TURNS, &self.backup_turns.another),
        ]
    }

    /// Whose turn it is, and what is left for retries, for another process; `percent` is what is configured for these.
    pub(crate) fn encode(&self, percent: u8, now: Instant, out: &mut Writer<'_>) {
        for (tag, turn) in self.all_turns() {
            out.number(tag, turn.count());
        }
        let connections = self.cells.sum(|cells| cells.connections.get());
        let tag = tag::RETRY_BUDGET;
        self.retry_budget
            .encode(tag, percent, connections, now, out);
        let last = self.common.queue.last_number();
        out.number(tag::LINE, last.min(COUNT_MAX));
    }

    /// The same back.
    pub(crate) fn decode(&self, mut fields: Fields<'_>) -> Result<(), Error> {
        for (tag, turn) in self.all_turns() {
            turn.go_on(fields.number(tag, u64::MAX, "turns")?);
        }
        if let Some(budget) = fields.nested(tag::RETRY_BUDGET)? {
            self.retry_budget.decode(budget)?;
        }
        let last = fields.count(tag::LINE, "places in a line")?;
        if last > 0 {
            self.common.queue.follow_numbers(last);
        }
        fields.finish()
    }
}
