//! What the tools need of the binary.

use std::net::SocketAddr;
use std::time::Duration;

use proxy_config::Config;
use proxy_load::FirstCore;

use crate::candidate::Candidate;

/// Starts proxies in this process.
pub trait Host {
    /// Starts the proxy of a configuration, with an admin server where an address for it is given.
    ///
    /// # Errors
    /// Why it can't run.
    fn start(&self, config: &Config, admin: Option<SocketAddr>) -> Result<Proxy, NoStart>;

    /// Starts an embedded echo server, which runs as long as the process.
    ///
    /// # Errors
    /// When loopback has no port left, or there is no thread for it.
    fn start_echo(&self) -> anyhow::Result<SocketAddr>;

    /// Workers that a configuration asks for.
    ///
    /// # Errors
    /// When it asks for CPUs that this process may not use.
    fn workers(&self, config: &Config) -> anyhow::Result<usize>;

    /// The schedulers that there are, in the order of preference among equals.
    fn candidates(&self) -> Vec<Candidate>;

    /// The one that a configuration runs under here.
    ///
    /// # Errors
    /// When it asks for CPUs that this process may not use.
    fn candidate(&self, config: &Config) -> anyhow::Result<Candidate>;

    /// How often a scheduler moves live connections under a configuration, at the longest.
    fn moves_every(&self, config: &Config) -> Duration;

    /// Why the scheduler that a configuration asks for can't run its workers here; none: it can.
    ///
    /// # Errors
    /// When it asks for CPUs that this process may not use.
    fn cannot_run(&self, config: &Config) -> anyhow::Result<Option<String>>;
}

/// Why there is no proxy.
#[derive(Debug)]
pub enum NoStart {
    /// This machine lacks what the scheduler needs.
    Unavailable(anyhow::Error),
    /// Something else.
    Failed(anyhow::Error),
}

/// A proxy that runs.
pub struct Proxy {
    /// The addresses of TCP to connect to.
    pub addresses: Vec<SocketAddr>,
    /// Where its admin server listens.
    pub admin: Option<SocketAddr>,
    /// The worker threads' ids.
    pub threads: Vec<i32>,
    /// Whether each worker keeps the connections that it begins with, unless it gives them away.
    pub has_places: bool,
    /// How many connections the first worker has begun with.
    pub begun_on_first: Box<dyn Fn() -> u64>,
    /// Ends it; workers may take as long as this to end their connections.
    pub stop: Box<dyn FnOnce(Duration)>,
}

impl Proxy {
    /// Its first core, where there is a point in beginning on one.
    pub(crate) fn first_core(&self) -> Option<FirstCore<'_>> {
        self.has_places.then_some(FirstCore {
            workers: self.threads.len(),
            begun: &*self.begun_on_first,
        })
    }
}

impl From<NoStart> for anyhow::Error {
    fn from(error: NoStart) -> Self {
        match error {
            NoStart::Unavailable(error) | NoStart::Failed(error) => error,
        }
    }
}
