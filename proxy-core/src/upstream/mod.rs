//! Where connections go.
//!
//! An [`Upstream`] and its [`Server`]s are known by their names and go on counting over every change of the configuration.
//! What an operator can change of them is a [`Pool`], which never changes: another one takes its place.

pub(crate) mod address;
pub(crate) mod addresses;
pub(crate) mod balance;
pub(crate) mod ejection;
pub(crate) mod health;
pub(crate) mod outage;
pub(crate) mod pool;
pub(crate) mod rest;
pub(crate) mod send_proxy;
pub(crate) mod server;
pub(crate) mod state;

use crate::id::Id;
use crate::metrics::{PerWorker, UpstreamCells};
use crate::upstream::balance::Turns;
use crate::upstream::ejection::jury::Jury;

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
}

impl Upstream {
    /// An upstream that nothing is counted of yet.
    pub fn new(name: String) -> Self {
        Self {
            id: Id::next(),
            name,
            cells: PerWorker::default(),
            turns: Turns::default(),
            jury: Jury::default(),
        }
    }

    /// Connections that wait for a server, over all workers.
    pub fn queue(&self) -> u64 {
        // A wait may end on another worker than it began on, so only the sum means something.
        let over = self.cells.sum(|cells| cells.waits_over.get());
        let begun = self.cells.sum(|cells| cells.waits_begun.get());
        begun.saturating_sub(over)
    }
}
