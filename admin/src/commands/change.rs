//! What can be changed while the proxy runs, as requests say it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A change that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What is to be changed.
    pub what: What,
    /// It is to stand in the configuration's file, too.
    pub write: bool,
}

/// What is to be changed.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A server, by the name of its upstream and its own.
    Server {
        /// The name of its upstream.
        upstream: String,
        /// Its address as it is configured.
        server: String,
        /// What becomes of it.
        change: ServerChange,
    },
    /// Another server for an upstream.
    AddServer {
        /// The name of the upstream.
        upstream: String,
        /// The server.
        server: NewServer,
    },
    /// A server less.
    RemoveServer {
        /// The name of its upstream.
        upstream: String,
        /// Its address as it is configured.
        server: String,
    },
    /// A listener, by its name.
    Listener {
        /// Its name.
        listener: String,
        /// What becomes of it.
        change: ListenerChange,
    },
    /// A connection, by its id.
    Connection {
        /// As connections are listed.
        id: u64,
        /// What becomes of it.
        order: ConnectionOrder,
    },
    /// Another scheduler, or other cores.
    Scheduler(SchedulerChange),
    /// What is logged.
    Log(LogChange),
}

/// What becomes of a server.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ServerChange {
    /// Whether it gets connections; none: as it is.
    #[serde(default)]
    pub state: Option<ServerOrder>,
    /// Its weight; none: as it is; none in it: as configured.
    #[serde(default, deserialize_with = "present")]
    pub weight: Option<Option<u16>>,
    /// Whether it is to stand in the file, too.
    #[serde(default)]
    pub write: bool,
}

/// Whether a server gets connections.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ServerOrder {
    /// It does.
    Ready,
    /// It doesn't, and those that it has may finish.
    Drain,
    /// It is taken out of service; those that it has may finish.
    Maintenance,
}

/// A server as a request describes it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct NewServer {
    /// As in the configuration.
    pub address: String,
    /// As in the configuration.
    #[serde(default)]
    pub weight: Option<u16>,
    /// As in the configuration.
    #[serde(default)]
    pub backup: Option<bool>,
    /// As in the configuration.
    #[serde(default)]
    pub max_connections: Option<u64>,
    /// Whether it is to stand in the file, too.
    #[serde(default)]
    pub write: bool,
}

/// What becomes of a listener.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ListenerChange {
    /// Whether it takes clients; none: as it is.
    #[serde(default)]
    pub state: Option<ListenerOrder>,
    /// Keys of the configuration with their values; none: as if it were not written.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
    /// Whether they are to stand in the file, too.
    #[serde(default)]
    pub write: bool,
}

/// The keys of a listener that can be changed: shares, limits and times.
pub const LISTENER_KEYS: &[&str] = &[
    "shares",
    "latency",
    "max_connections",
    "max_connections_per_source",
    "max_rate",
    "burst",
    "max_rate_per_source",
    "burst_per_source",
    "bandwidth",
    "bandwidth_per_connection",
    "over_limit",
    "idle_timeout",
    "client_idle_timeout",
    "server_idle_timeout",
    "half_closed_timeout",
    "max_lifetime",
    "lifetime_jitter",
    "prologue_timeout",
];

/// Whether a listener takes clients.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ListenerOrder {
    /// It does.
    Open,
    /// They wait.
    Paused,
    /// They are refused, and those that are connected may finish.
    Drained,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOrder {
    /// Both sides get the end of the stream as soon as it is quiet.
    Close,
    /// Both sides are reset.
    Reset,
    /// Another core has it.
    Move(usize),
}

/// What becomes of a connection that goes on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionChange {
    /// The core that is to have it.
    pub(crate) core: usize,
}

/// Another scheduler, or other cores; what is none is as it is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SchedulerChange {
    /// "glommio", "work-stealing" or "per-core", as switches are counted, or "auto".
    #[serde(default)]
    pub scheduler: Option<SchedulerName>,
    /// As in the configuration: how many, or which.
    #[serde(default)]
    pub cores: Option<CoresChange>,
    /// Whether it is to stand in the file, too.
    #[serde(default)]
    pub write: bool,
}

/// A scheduler.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "their names say it")]
pub enum SchedulerName {
    Glommio,
    WorkStealing,
    PerCore,
    Auto,
}

/// Cores, as the configuration has them.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum CoresChange {
    /// So many.
    Count(u16),
    /// These, as in "0-3,8", or "all".
    Which(String),
}

/// What is logged from now on; what is none is as it is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LogChange {
    /// Of all modules that no other one is given for.
    #[serde(default)]
    pub level: Option<LogLevel>,
    /// Of some modules; none in it: as all others.
    #[serde(default)]
    pub modules: BTreeMap<String, Option<LogLevel>>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their names say it")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Where a value is given at all, though it may be none.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u16>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_that_is_absent_is_another_one_than_none() {
        let read = |text| serde_json::from_str::<ServerChange>(text).ok();
        let weight = |text| read(text).map(|change| change.weight);
        assert_eq!(weight("{}"), Some(None));
        assert_eq!(weight("{\"weight\":null}"), Some(Some(None)));
        assert_eq!(weight("{\"weight\":7}"), Some(Some(Some(7))));
        for bad in ["{\"weight\":-1}", "{\"wieght\":1}", "{\"state\":\"up\"}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
