//! Tokio's modes, as the suite starts them.

use conformance::Scheduler;
use proxy_core::backend::{Backend, Plan};

pub(crate) enum WorkStealing {}

impl Scheduler for WorkStealing {
    const SOCKET_A_WORKER: bool = false;

    fn start(plan: Plan) -> Result<Box<dyn Backend>, String> {
        let running = backend_tokio::WorkStealing::start(plan);
        Ok(Box::new(running.map_err(|error| error.to_string())?))
    }
}

pub(crate) enum PerCore {}

impl Scheduler for PerCore {
    const SOCKET_A_WORKER: bool = true;

    fn start(plan: Plan) -> Result<Box<dyn Backend>, String> {
        let running = backend_tokio::PerCore::start(plan);
        Ok(Box::new(running.map_err(|error| error.to_string())?))
    }
}
