//! corelane on Glommio: one pinned executor a core.
//!
//! Glommio schedules: executors, pinning, task queues with shares, preemption. Readiness, timers, messages and the
//! parking of the core come from a driver of our own (`driver`), over a modern io_uring (`uring`) or, before
//! Linux 6.1, epoll (`epoll`).

#![deny(unsafe_code)]

mod adoption;
mod balancer;
mod cells;
mod costs;
mod driver;
mod epoll;
mod executor;
mod lane;
mod lanes;
mod load;
mod mailbox;
mod metrics;
mod neighbours;
mod options;
mod placement;
mod poller;
mod probe;
mod publisher;
mod queues;
mod readiness;
mod ready;
mod rebalance;
mod seat;
mod slots;
mod socket;
mod start_error;
mod starting;
#[allow(unsafe_code, reason = "the file that is for it")]
mod sys;
mod timers;
mod uring;

pub use cells::{QueueCells, RingCells};
pub use executor::Glommio;
pub use metrics::Cells;
pub use options::Options;
pub use placement::Placement;
pub use probe::{
    MEMLOCK_BYTES_MIN, Memlock, Unavailable, memlock_needed, missing_operations, probe,
};
pub use readiness::Readiness;
pub use rebalance::Rebalance;
pub use start_error::StartError;
pub use starting::becomes_error;
