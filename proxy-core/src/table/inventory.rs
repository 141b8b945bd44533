//! What has a name, kept over every change of the configuration.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::admission::limits::Total;
use crate::id::Id;
use crate::listener::Listener;
use crate::table::Table;
use crate::table::view::{Forgotten, ListenerView, UpstreamView, View};
use crate::upstream::Upstream;
use crate::upstream::server::Server;
use crate::upstream::witness::Witness;

/// How long what was removed is shown after its last connection has ended.
pub const RETIRED_KEPT: Duration = Duration::from_secs(600);

/// Names of listeners, of upstreams and of servers (each) that were removed and are kept without a connection; of more, those
/// that were idle for longest are forgotten.
pub const RETIRED_MAX: usize = 256;

/// The objects by their names. Who comes back finds the one that it was, and goes on counting.
#[derive(Debug, Default)]
pub struct Inventory {
    names: Mutex<Names>,
    /// Connections of all listeners.
    total: Arc<Total>,
    witness: Option<Arc<dyn Witness>>,
}

#[derive(Debug, Default)]
struct Names {
    listeners: BTreeMap<String, Known<Listener>>,
    upstreams: BTreeMap<String, Known<Upstream>>,
    /// By upstream and label.
    servers: BTreeMap<(String, String), Known<Server>>,
    forgotten: Vec<Forgotten>,
}

#[derive(Debug)]
struct Known<T> {
    object: Arc<T>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Made for a table that was not put in force yet.
    New,
    /// The table in force has it.
    Used,
    /// It was removed, and has no connection since then; none: it had some at the last look.
    Retired { idle_since: Option<Instant> },
}

/// Removed just now.
const RETIRED: State = State::Retired { idle_since: None };

/// What may be forgotten once nobody uses it.
trait Object {
    fn is_idle(&self) -> bool;
}

impl Object for Listener {
    fn is_idle(&self) -> bool {
        self.connections() == 0 && !self.is_accepting()
    }
}

impl Object for Upstream {
    fn is_idle(&self) -> bool {
        // What its servers have together is counted here.
        self.queue() == 0 && self.connections() == 0
    }
}

impl Object for Server {
    fn is_idle(&self) -> bool {
        self.connections() == 0
    }
}

impl Inventory {
    /// One whose servers' verdicts somebody is told of.
    pub fn witnessed(witness: Arc<dyn Witness>) -> Self {
        Self {
            witness: Some(witness),
            ..Self::default()
        }
    }

    /// The listener of this name.
    pub fn listener(&self, name: &str) -> Arc<Listener> {
        self.listener_in(name, State::New)
    }

    /// The upstream of this name.
    pub fn upstream(&self, name: &str) -> Arc<Upstream> {
        self.upstream_in(name, State::New)
    }

    /// The server with this label of an upstream, made by `make` if it is new.
    pub fn server(
        &self,
        upstream: &Upstream,
        label: &str,
        make: impl FnOnce() -> Server,
    ) -> Arc<Server> {
        self.server_in(upstream, label, State::New, make)
    }

    /// The same for what another process knew: what no table has had here is like what was removed.
    pub(crate) fn retired_listener(&self, name: &str) -> Arc<Listener> {
        self.listener_in(name, RETIRED)
    }

    /// The same.
    pub(crate) fn retired_upstream(&self, name: &str) -> Arc<Upstream> {
        self.upstream_in(name, RETIRED)
    }

    /// The same.
    pub(crate) fn retired_server(
        &self,
        upstream: &Upstream,
        label: &str,
        make: impl FnOnce() -> Server,
    ) -> Arc<Server> {
        self.server_in(upstream, label, RETIRED, make)
    }

    fn listener_in(&self, name: &str, made: State) -> Arc<Listener> {
        let make = || Listener::of(name.to_owned(), self.total.clone());
        find(&mut self.lock().listeners, name.to_owned(), made, make)
    }

    fn upstream_in(&self, name: &str, made: State) -> Arc<Upstream> {
        let make = || Upstream::witnessed(name.to_owned(), self.witness.clone());
        find(&mut self.lock().upstreams, name.to_owned(), made, make)
    }

    fn server_in(
        &self,
        upstream: &Upstream,
        label: &str,
        made: State,
        make: impl FnOnce() -> Server,
    ) -> Arc<Server> {
        let key = (upstream.name.clone(), label.to_owned());
        find(&mut self.lock().servers, key, made, make)
    }

    /// All listeners that a table had.
    pub(crate) fn listeners(&self) -> Vec<Arc<Listener>> {
        known(&self.lock().listeners).cloned().collect()
    }

    /// The same of upstreams.
    pub(crate) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        known(&self.lock().upstreams).cloned().collect()
    }

    /// The same of servers.
    pub(crate) fn servers(&self) -> Vec<Arc<Server>> {
        known(&self.lock().servers).cloned().collect()
    }

    /// What a table has had, by its name.
    pub(crate) fn known_listener(&self, name: &str) -> Option<Arc<Listener>> {
        let names = self.lock();
        Some(names.listeners.get(name)?.object.clone())
    }

    /// The same.
    pub(crate) fn known_upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        let names = self.lock();
        Some(names.upstreams.get(name)?.object.clone())
    }

    /// The same.
    pub(crate) fn known_server(&self, upstream: &str, label: &str) -> Option<Arc<Server>> {
        let key = (upstream.to_owned(), label.to_owned());
        let names = self.lock();
        Some(names.servers.get(&key)?.object.clone())
    }

    /// Takes note of the table that is in force: what is not in it is retired, and what was made for another one that never
    /// was is forgotten.
    pub fn settle(&self, table: &Table, now: Instant) {
        let mut names = self.lock();
        let names = &mut *names;
        names.note_comers(table, now);
        settle(&mut names.listeners, |listener| {
            table.settings_of(listener).is_some()
        });
        let pools: BTreeMap<_, _> = table
            .pools
            .iter()
            .map(|pool| (pool.upstream().id, pool))
            .collect();
        settle(&mut names.upstreams, |upstream| {
            pools.contains_key(&upstream.id)
        });
        let members = members(table);
        names.note_goers(&members, now);
        settle(&mut names.servers, |server| members.contains(&server.id));
        names.forget(now);
    }

    /// What people are shown now.
    pub fn view(&self, table: &Table, now: Instant) -> View {
        let mut names = self.lock();
        names.forget(now);
        let configured = table.listeners.iter().map(|settings| ListenerView {
            listener: settings.listener.clone(),
            settings: Some(settings.clone()),
        });
        // By the table, not by what is noted: a scrape may come between a publication and its settlement.
        let is_gone = |listener: &&Arc<Listener>| table.settings_of(listener).is_none();
        let removed = known(&names.listeners).filter(is_gone);
        let removed = removed.map(|listener| ListenerView {
            listener: listener.clone(),
            settings: None,
        });
        let listeners = configured.chain(removed).collect();
        let configured = table.pools.iter().map(|pool| UpstreamView {
            upstream: pool.upstream().clone(),
            pool: Some(pool.clone()),
            servers: pool.servers().cloned().collect(),
        });
        let ids: HashSet<_> = table.pools.iter().map(|pool| pool.upstream().id).collect();
        let removed = known(&names.upstreams).filter(|upstream| !ids.contains(&upstream.id));
        let removed = removed.map(|upstream| UpstreamView {
            upstream: upstream.clone(),
            pool: None,
            servers: Vec::new(),
        });
        let mut upstreams: Vec<_> = configured.chain(removed).collect();
        let members = members(table);
        for server in known(&names.servers).filter(|server| !members.contains(&server.id)) {
            let mut of = upstreams.iter_mut();
            if let Some(of) = of.find(|view| view.upstream.name == server.upstream) {
                of.servers.push(server.clone());
            }
        }
        View {
            listeners,
            upstreams,
            forgotten: names.forgotten.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Takes note of servers that come, and has those begin slowly that a table adds to an upstream which was there before.
    fn note_comers(&self, table: &Table, now: Instant) {
        for pool in &table.pools {
            let known = self.upstreams.get(&pool.upstream().name);
            let is_known = known.is_some_and(|known| known.state == State::Used);
            for server in pool.servers() {
                let key = (server.upstream.clone(), server.label.clone());
                let known = self.servers.get(&key);
                if known.is_some_and(|known| known.state == State::Used) {
                    continue;
                }
                server.note_coming(now);
                if is_known {
                    server.on_come();
                }
            }
        }
    }

    /// Takes note of servers that go.
    fn note_goers(&self, members: &HashSet<Id>, now: Instant) {
        let used = self
            .servers
            .values()
            .filter(|known| known.state == State::Used);
        let gone = used.filter(|known| !members.contains(&known.object.id));
        gone.for_each(|known| known.object.note_removal(now));
    }

    fn forget(&mut self, now: Instant) {
        for listener in forget(&mut self.listeners, now) {
            let cores = listener.cells.cores();
            if self.forgotten.len() < cores {
                self.forgotten.resize(cores, Forgotten::default());
            }
            for (core, forgotten) in self.forgotten.iter_mut().enumerate() {
                forgotten.add(Forgotten::of(&listener, core));
            }
        }
        forget(&mut self.servers, now);
        let gone = forget(&mut self.upstreams, now);
        self.servers
            .retain(|_, server| !gone.iter().any(|of| of.name == server.object.upstream));
    }
}

/// What has the name; else what `make` makes, in the state `made`.
fn find<K: Ord, T>(
    names: &mut BTreeMap<K, Known<T>>,
    key: K,
    made: State,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    let known = names.entry(key).or_insert_with(|| Known {
        object: Arc::new(make()),
        state: made,
    });
    if let State::Retired { idle_since } = &mut known.state {
        // It is not forgotten just before it is used again.
        *idle_since = None;
    }
    known.object.clone()
}

fn settle<K: Ord, T>(names: &mut BTreeMap<K, Known<T>>, is_used: impl Fn(&T) -> bool) {
    names.retain(|_, known| {
        known.state = match known.state {
            _ if is_used(&known.object) => State::Used,
            State::New => return false,
            State::Used => RETIRED,
            retired @ State::Retired { .. } => retired,
        };
        true
    });
}

/// Forgets what was idle for long enough, and returns it.
fn forget<K: Ord + Clone, T: Object>(
    names: &mut BTreeMap<K, Known<T>>,
    now: Instant,
) -> Vec<Arc<T>> {
    let mut idle = Vec::new();
    for (key, known) in &mut *names {
        if let State::Retired { idle_since } = &mut known.state {
            *idle_since = known.object.is_idle().then(|| idle_since.unwrap_or(now));
            idle.extend(idle_since.map(|since| (since, key.clone())));
        }
    }
    idle.sort();
    let beyond = idle.len().saturating_sub(RETIRED_MAX);
    let is_over = |since: Instant| now.saturating_duration_since(since) >= RETIRED_KEPT;
    let over = idle
        .into_iter()
        .enumerate()
        .filter(|&(place, (since, _))| place < beyond || is_over(since));
    let gone: Vec<_> = over.map(|(_, (_, key))| key).collect();
    gone.iter()
        .filter_map(|key| Some(names.remove(key)?.object))
        .collect()
}

/// Those that a table had.
fn known<K, T>(names: &BTreeMap<K, Known<T>>) -> impl Iterator<Item = &Arc<T>> {
    let was_used = |known: &&Known<T>| known.state != State::New;
    names.values().filter(was_used).map(|known| &known.object)
}

fn members(table: &Table) -> HashSet<Id> {
    let servers = table.pools.iter().flat_map(|pool| pool.servers());
    servers.map(|server| server.id).collect()
}

#[cfg(test)]
mod tests;
