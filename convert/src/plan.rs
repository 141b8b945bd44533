//! What a configuration means, whichever proxy's it was: the readers fill it, and one writer makes TOML of it.

use super::note::Notes;
use super::origin::Origin;
use super::value::{Item, Value};

/// A configuration of corelane in the making.
///
/// Names are made valid and unique by [`Names`](super::names::Names); whether a value is within its limits is decided once, by
/// the configuration's own readers, after it was written ([`settle`](super::settle)).
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) runtime: Keys,
    pub(super) admin: Keys,
    pub(super) access_log: Keys,
    pub(super) listeners: Vec<Listener>,
    pub(super) upstreams: Vec<Upstream>,
    /// What the author should hear.
    pub(super) notes: Notes,
}

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) from: Origin,
}

impl<T> Said<T> {
    pub(super) fn new(value: T, from: &Origin) -> Self {
        let from = from.clone();
        Self { value, from }
    }
}

/// `[listeners.NAME]`.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) from: Origin,
    /// Where it listens, as `bind` has it.
    pub(super) binds: Vec<Said<String>>,
    /// The upstream of those that no route takes.
    pub(super) upstream: Option<Said<String>>,
    pub(super) routes: Vec<Route>,
    /// All other keys of the table, such as `idle_timeout`.
    pub(super) keys: Keys,
}

/// `[[listeners.NAME.routes]]`: all of its keys.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) from: Origin,
    pub(super) keys: Keys,
}

/// `[upstreams.NAME]`.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) from: Origin,
    pub(super) servers: Vec<Server>,
    /// All other keys of the table, such as `balance`.
    pub(super) keys: Keys,
    /// `[upstreams.NAME.health]` and tables like it, by the last part of their names, such as `health`.
    pub(super) tables: Vec<(&'static str, Origin, Keys)>,
}

/// A server of an upstream.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) address: String,
    pub(super) from: Origin,
    /// `weight` and its like.
    pub(super) keys: Vec<(&'static str, Value)>,
}

/// Keys of a table, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Vec<Entry>);

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: &'static str,
    pub(super) value: Value,
    pub(super) from: Origin,
}

impl Keys {
    /// Sets a key. It replaces what it was.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>, from: &Origin) {
        let (value, from) = (value.into(), from.clone());
        let entry = Entry { key, value, from };
        match self.0.iter_mut().find(|entry| entry.key == key) {
            Some(found) => *found = entry,
            None => self.0.push(entry),
        }
    }

    /// Takes a key back. Returns where it came from.
    pub(super) fn remove(&mut self, key: &str) -> Option<Origin> {
        let place = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(place).from)
    }

    /// Whether both have the same keys with the same values.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let is_same = |entry: &Entry| other.get(entry.key) == Some(&entry.value);
        self.0.len() == other.0.len() && self.0.iter().all(is_same)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key that was set.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.iter().find(|entry| entry.key == key);
        found.map(|entry| &entry.value)
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.0
    }
}

impl Listener {
    pub(super) fn new(name: String, from: &Origin) -> Self {
        Self {
            name,
            from: from.clone(),
            binds: Vec::new(),
            upstream: None,
            routes: Vec::new(),
            keys: Keys::default(),
        }
    }
}

impl Listener {
    /// Whether connections go to this upstream, by a route or without one.
    pub(super) fn leads_to(&self, upstream: &str) -> bool {
        let by_route =
            |route: &Route| match (route.keys.get("upstream"), route.keys.get("upstreams")) {
                (Some(Value::Text(name)), _) => name == upstream,
                (_, Some(Value::Weights(weights))) => {
                    weights.iter().any(|(name, _)| name == upstream)
                }
                _ => false,
            };
        let rest = self.upstream.as_ref();
        rest.is_some_and(|rest| rest.value == upstream) || self.routes.iter().any(by_route)
    }
}

impl Upstream {
    pub(super) fn new(name: String, from: &Origin) -> Self {
        Self {
            name,
            from: from.clone(),
            servers: Vec::new(),
            keys: Keys::default(),
            tables: Vec::new(),
        }
    }

    /// Adds a server. One that is there already is joined with it: it has both weights and both limits.
    pub(super) fn add(&mut self, server: Server, notes: &mut Notes) {
        let mut servers = self.servers.iter_mut();
        match servers.find(|first| first.address == server.address) {
            Some(first) => first.join(&server, notes),
            None => self.servers.push(server),
        }
    }

    /// The keys of one of its tables, such as `health`, which there is from now on.
    pub(super) fn table(&mut self, name: &'static str, from: &Origin) -> &mut Keys {
        let place = self.tables.iter().position(|(found, ..)| *found == name);
        let place = place.unwrap_or_else(|| {
            self.tables.push((name, from.clone(), Keys::default()));
            self.tables.len() - 1
        });
        &mut self.tables[place].2
    }
}

impl Server {
    pub(super) fn new(address: impl Into<String>, from: &Origin) -> Self {
        Self {
            address: address.into(),
            from: from.clone(),
            keys: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.keys.retain(|(found, _)| *found != key);
        self.keys.push((key, value.into()));
    }

    /// The number of a key, such as `weight`.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let mut keys = self.keys.iter();
        keys.find_map(|(key, value)| match value {
            Value::Integer(number) if *key == name => Some(*number),
            _ => None,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|(key, _)| *key == name)
    }

    /// Has this one be the same server as one that is listed again.
    fn join(&mut self, again: &Self, notes: &mut Notes) {
        if self.has("backup") != again.has("backup") {
            let why = "a server is a backup or is not; the first line counts";
            return notes.lose(&again.from, why);
        }
        if self.number("check_port") != again.number("check_port") {
            let why = "a server is checked at one port; that of the first line counts";
            notes.lose(&again.from, why);
        }
        let weights = [&*self, again].map(|server| server.number("weight").unwrap_or(1));
        let limits = [&*self, again].map(|server| server.number("max_connections"));
        let limit = match (weights, limits) {
            // What gets no connections has no part in it.
            ([_, 0], [limit, _]) | ([0, _], [_, limit]) => limit,
            (_, [Some(one), Some(other)]) => Some(one.saturating_add(other)),
            _ => None,
        };
        self.set("weight", weights[0].saturating_add(weights[1]));
        self.keys.retain(|(key, _)| *key != "max_connections");
        if let Some(limit) = limit {
            self.set("max_connections", limit);
        }
        let why = "the same server again: it has both weights and both limits";
        notes.remark(&again.from, why);
    }

    pub(super) fn into_item(self) -> Item {
        if self.keys.is_empty() {
            return Item::new(self.address, &self.from);
        }
        let address = ("address", self.address.into());
        let entries = std::iter::once(address).chain(self.keys);
        Item::new(Value::Table(entries.collect()), &self.from)
    }
}
