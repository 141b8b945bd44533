//! What the clients of a load do.

use std::time::Duration;

/// Flows of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flows {
    /// How many there are.
    pub count: usize,
    /// Bytes of a message, which comes back as it went.
    pub bytes: usize,
    /// An open loop: time from one message to the next of a flow, however long the answer takes. None, a closed one:
    /// the next one follows the answer.
    pub interval: Option<Duration>,
    /// Messages after which a flow goes on in a new connection. None: never.
    pub messages: Option<u64>,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Their latencies are measured.
    pub light: Flows,
    /// Their bytes are.
    pub heavy: Flows,
    /// Whether the heavy flows begin on the first core, where there is such a thing: the worst that a hash of addresses
    /// may come to.
    pub heavy_on_one_core: bool,
    /// Threads of clients of each kind.
    pub threads: usize,
}
