//! Tokio's modes, as the suite starts them.

use conformance::Backend;
use proxy_core::plan::{Plan, Running};

pub(crate) enum WorkStealing {}

impl Backend for WorkStealing {
    const SOCKET_A_WORKER: bool = false;

    fn start(plan: Plan) -> Result<Box<dyn Running>, String> {
        let running = backend_tokio::WorkStealing::start(plan);
        Ok(Box::new(running.map_err(|error| error.to_string())?))
    }
}

pub(crate) enum PerCore {}

impl Backend for PerCore {
    const SOCKET_A_WORKER: bool = true;

    fn start(plan: Plan) -> Result<Box<dyn Running>, String> {
        let running = backend_tokio::PerCore::start(plan);
        Ok(Box::new(running.map_err(|error| error.to_string())?))
    }
}
