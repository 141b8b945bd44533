//! The sources of a configuration.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proxy_admin::Discoveries;
use proxy_config::{Config, Discovery, DiscoverySource, Loops, ServerAddress};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::found::{Found, merge};
use super::lookup::Lookup;
use super::report::{Board, Said};
use super::{dns, file, http, kubernetes};
use crate::config_file::on_this_machine;

/// How often a reload looks whether new sources were heard.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Servers of all sources that a process hands over when another one takes over. More is a few megabytes, and no proxy that there is.
const CARRIED_MAX: usize = 65_536;

/// The sources that are asked until this is dropped, or their thread.
pub(crate) struct Sources {
    board: Arc<Board>,
    /// By upstream.
    in_force: HashMap<String, Source>,
    /// Those that a configuration has that may come in force.
    prepared: HashMap<String, Source>,
    /// What those of the process before named last, by upstream.
    carried: HashMap<String, Arc<[Found]>>,
    /// The changes that tables were made of.
    seen: u64,
}

struct Source {
    configured: Discovery,
    said: Arc<Said>,
    task: AbortHandle,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sources {
    /// Without sources. What they say is noted in `shown`.
    pub(crate) fn new(shown: Arc<Discoveries>) -> Self {
        Self {
            board: Arc::new(Board::new(shown)),
            in_force: HashMap::new(),
            prepared: HashMap::new(),
            carried: HashMap::new(),
            seen: 0,
        }
    }

    /// What the sources of this process named last, by upstream, for the process that takes over: up to [`CARRIED_MAX`] servers.
    pub(crate) fn found(&self) -> HashMap<String, Vec<Found>> {
        let mut room = CARRIED_MAX;
        let all = self.in_force.iter().map(|(name, source)| {
            let found = source.said.found();
            (name.clone(), found.to_vec())
        });
        all.take_while(|(_, found)| {
            let fits = found.len() <= room;
            room = room.saturating_sub(found.len());
            fits
        })
        .collect()
    }

    /// The process before found these: they are good until sources are heard.
    pub(crate) fn go_on_with(&mut self, found: &HashMap<String, Vec<Found>>) {
        let found = found.iter();
        let found = found.map(|(name, found)| (name.clone(), found.as_slice().into()));
        self.carried = found.collect();
    }

    /// Whether a configuration has sources that are not asked yet.
    pub(crate) fn are_new(&self, config: &Config) -> bool {
        configured(config).any(|(name, source)| self.of(name, source).is_none())
    }

    /// Asks the sources of `config`, too. Those that are as they were go on.
    pub(crate) fn prepare(&mut self, config: &Config, on: &Handle) {
        self.board.watch(config);
        self.prepared.clear();
        for (name, source) in configured(config) {
            if self.of(name, source).is_some() {
                continue;
            }
            let before = self.in_force.get(name).map(|before| before.said.found());
            let before = before.or_else(|| self.carried.remove(name));
            let said = Arc::new(Said::new(name, self.board.clone(), before));
            let task = on.spawn(ask(source.clone(), said.clone())).abort_handle();
            let source = Source {
                configured: source.clone(),
                said,
                task,
            };
            self.prepared.insert(name.to_owned(), source);
        }
    }

    /// Returns when each new source was heard, or after `patience`.
    pub(crate) fn wait(&self, patience: Duration) {
        self.board.wait(patience, || self.are_heard());
    }

    /// The same for a thread that has something else to do meanwhile.
    pub(crate) async fn heard(&self) {
        while !self.are_heard() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn are_heard(&self) -> bool {
        self.prepared.values().all(|source| source.said.is_heard())
    }

    /// Goes on with the sources of `config`, and with no others.
    pub(crate) fn commit(&mut self, config: &Config) {
        let mut in_force = HashMap::new();
        for (name, source) in configured(config) {
            let of = |sources: &mut HashMap<String, Source>| {
                let known = sources.remove(name);
                known.filter(|known| known.configured == *source)
            };
            let known = of(&mut self.prepared).or_else(|| of(&mut self.in_force));
            if let Some(known) = known {
                known.said.put_in_force();
                in_force.insert(name.to_owned(), known);
            }
        }
        self.prepared.clear();
        self.carried.clear();
        if !in_force.is_empty() {
            self.board.watch(config);
        }
        self.in_force = in_force;
        let names = self.in_force.keys().map(String::as_str);
        self.board.shown.keep(&names.collect());
    }

    /// The configuration with all servers that there are by what its sources said.
    pub(crate) fn complete(&self, config: &Config) -> Config {
        let mut config = config.clone();
        for upstream in &mut config.upstreams {
            let discovery = upstream.discovery.as_ref();
            let source = discovery.and_then(|discovery| self.of(&upstream.name, discovery));
            if let Some(source) = source {
                upstream.servers = merge(&upstream.servers, &source.said.found());
            }
        }
        leave_out_loops(&mut config);
        config
    }

    /// Waits until a source says something else than what was seen last. It may be broken off, and begun again.
    pub(crate) async fn changed(&self) {
        self.board.after(self.seen).await;
    }

    /// A table is made of what sources say now.
    pub(crate) fn see(&mut self) {
        self.seen = self.board.changes();
    }

    fn of(&self, upstream: &str, discovery: &Discovery) -> Option<&Source> {
        let known = [&self.prepared, &self.in_force].map(|sources| sources.get(upstream));
        let mut known = known.into_iter().flatten();
        known.find(|source| source.configured == *discovery)
    }
}

/// Leaves servers out that were found, and by which connections would come back: a listener may be where one of them was before.
fn leave_out_loops(config: &mut Config) {
    if config.upstreams.iter().all(|one| one.discovery.is_none()) {
        return;
    }
    on_this_machine(|machine| {
        let loops = Loops::of(&config.listeners, &config.upstreams, machine);
        for upstream in &mut config.upstreams {
            if upstream.discovery.is_none() {
                continue;
            }
            let name = &upstream.name;
            upstream.servers.retain(|server| {
                let ServerAddress::Socket(address) = server.address else {
                    return true;
                };
                let through = loops.through(name, address, machine);
                if let Some(listener) = through {
                    tracing::warn!(
                        upstream = name,
                        server = %address,
                        listener,
                        "the server is left out: connections would come back by this listener"
                    );
                }
                through.is_none()
            });
        }
    });
}

fn configured(config: &Config) -> impl Iterator<Item = (&str, &Discovery)> {
    let upstreams = config.upstreams.iter();
    upstreams.filter_map(|upstream| Some((&upstream.name[..], upstream.discovery.as_ref()?)))
}

/// The life of a source.
async fn ask(discovery: Discovery, said: Arc<Said>) {
    let lookup = match &discovery.nameservers[..] {
        [] => Lookup::of_system(),
        servers => Lookup::of_servers(servers.to_vec()),
    };
    let interval = discovery.interval;
    match &discovery.source {
        DiscoverySource::Dns(name) => {
            dns::ask(name, (interval, discovery.max_ttl), &lookup, &said).await;
        }
        DiscoverySource::File(path) => file::ask(path, interval, &said).await,
        DiscoverySource::Http(url) => http::ask(url, interval, &lookup, &said).await,
        DiscoverySource::Kubernetes(source) => {
            kubernetes::ask(source, interval, &lookup, &said).await;
        }
    }
}
