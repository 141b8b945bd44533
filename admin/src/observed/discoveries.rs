//! Sources that say which servers there are, as people see them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Upstreams without a source whose counters are kept for when they have one again; of more, some are forgotten.
const UNCONFIGURED_MAX: usize = 1024;

/// The source of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryView {
    /// Whether the configuration that runs has it.
    is_configured: bool,
    /// Servers that it named last.
    pub servers: usize,
    /// When it last said which servers there are; none: never.
    pub last_success: Option<SystemTime>,
    /// By reason.
    pub failures: BTreeMap<&'static str, u64>,
}

/// Those of the configuration that runs, by upstream.
#[derive(Debug, Default)]
pub struct Discoveries(Mutex<BTreeMap<String, DiscoveryView>>);

impl Discoveries {
    /// The upstream has a source from now on, of which so many servers are known. It may fail for these reasons, each of which
    /// is counted from zero on: Prometheus sees no increase in a series that begins with one.
    pub fn on_configured(
        &self,
        upstream: &str,
        servers: usize,
        reasons: impl IntoIterator<Item = &'static str>,
    ) {
        let mut all = self.lock();
        let view = all.entry(upstream.to_owned()).or_default();
        view.is_configured = true;
        view.servers = servers;
        for reason in reasons {
            view.failures.entry(reason).or_default();
        }
    }

    /// A source has named so many servers.
    pub fn on_success(&self, upstream: &str, servers: usize, at: SystemTime) {
        let mut all = self.lock();
        let view = all.entry(upstream.to_owned()).or_default();
        view.servers = servers;
        view.last_success = Some(at);
    }

    /// A source has failed for a reason.
    pub fn on_failure(&self, upstream: &str, reason: &'static str) {
        let mut all = self.lock();
        let view = all.entry(upstream.to_owned()).or_default();
        *view.failures.entry(reason).or_default() += 1;
    }

    /// No other upstreams than these have sources. What the others counted is kept, as far as there is room.
    pub fn keep(&self, upstreams: &HashSet<&str>) {
        let mut all = self.lock();
        let beyond = all.len().saturating_sub(UNCONFIGURED_MAX + upstreams.len());
        let mut forgotten = 0;
        all.retain(|name, view| {
            view.is_configured = upstreams.contains(&name[..]);
            let is_kept = view.is_configured || forgotten >= beyond;
            forgotten += usize::from(!is_kept);
            is_kept
        });
    }

    /// As they are now.
    pub fn look(&self) -> Vec<(String, DiscoveryView)> {
        let all = self.lock();
        let configured = all.iter().filter(|(_, view)| view.is_configured);
        configured
            .map(|(name, view)| (name.clone(), view.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, DiscoveryView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
