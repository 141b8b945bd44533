//! How the executors are set up.

use std::time::Duration;

use crate::placement::Placement;
use crate::readiness::Readiness;
use crate::rebalance::Rebalance;

/// How the executors are set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Requests that the driver's ring takes before it must submit; a power of two.
    pub ring_depth: u32,
    /// How long a listener may run while others wait; less where a listener of the core wants a lower latency.
    pub preempt_timer: Duration,
    /// How new connections are spread over the cores.
    pub placement: Placement,
    /// How live connections are moved off a hot core.
    pub rebalance: Rebalance,
    /// Where readiness comes from; none: io_uring where the kernel has what it takes, else epoll.
    pub readiness: Option<Readiness>,
}
