//! Glommio, as the suite starts it.

use std::time::Duration;

use backend_glommio::{Options, Placement, Readiness, Rebalance};
use conformance::Scheduler;
use proxy_core::backend::{Backend, Plan};

/// Over whatever source of readiness is best here: io_uring, on a kernel that has what it takes.
pub(crate) enum Glommio {}

impl Scheduler for Glommio {
    const SOCKET_A_WORKER: bool = true;

    fn unavailable() -> Option<String> {
        unavailable()
    }

    fn start(plan: Plan) -> Result<Box<dyn Backend>, String> {
        start(plan, None)
    }
}

/// Over epoll.
pub(crate) enum Epoll {}

impl Scheduler for Epoll {
    const SOCKET_A_WORKER: bool = true;

    fn unavailable() -> Option<String> {
        unavailable()
    }

    fn start(plan: Plan) -> Result<Box<dyn Backend>, String> {
        start(plan, Some(Readiness::Epoll))
    }
}

pub(crate) fn unavailable() -> Option<String> {
    backend_glommio::probe(1, 8)
        .err()
        .map(|why| why.to_string())
}

fn start(plan: Plan, readiness: Option<Readiness>) -> Result<Box<dyn Backend>, String> {
    let running = backend_glommio::Glommio::start(plan, options(readiness));
    Ok(Box::new(running.map_err(|error| error.to_string())?))
}

pub(crate) fn options(readiness: Option<Readiness>) -> Options {
    Options {
        // Small, so that a full queue is met too.
        ring_depth: 8,
        preempt_timer: Duration::from_millis(1),
        placement: Placement::ReusePort,
        rebalance: Rebalance::default(),
        readiness,
    }
}
