//! What the live page and `corelane top` show: one moment of a proxy, as JSON.
//!
//! The admin server writes it (`/state`, `/events`) and `corelane top` reads it, maybe from another version: a field
//! that is new there is ignored, one that is missing is empty.

use serde::{Deserialize, Serialize};

/// Samples of the history: two minutes of them.
pub(crate) const HISTORY_MAX: usize = 120;

/// Servers that are shown, over all upstreams: those that are down first, then the busiest. Those beyond are only counted, but what is
/// found is found among all.
pub(crate) const SERVERS_SHOWN_MAX: usize = 256;

/// One moment. Rates are of the last second, and in a second.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) version: String,
    /// "glommio" or "tokio".
    pub(crate) scheduler: String,
    /// "thread-per-core", "work-stealing" or "per-core".
    pub(crate) mode: String,
    /// Whether every worker stays on its CPU.
    pub(crate) pinned: bool,
    pub(crate) draining: bool,
    pub(crate) uptime_seconds: f64,
    pub(crate) connections: u64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
    /// What is to be said of it in words, the most urgent first; never empty.
    pub(crate) findings: Vec<Finding>,
    /// What the adviser says about the scheduler.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) advice: Vec<String>,
    pub(crate) imbalance: Figures,
    pub(crate) cores: Vec<Core>,
    pub(crate) listeners: Vec<Listener>,
    /// Those that are down first, then those with failures, then the others in the order of the configuration.
    pub(crate) servers: Vec<Server>,
    /// Servers beyond [`SERVERS_SHOWN_MAX`].
    pub(crate) servers_left_out: usize,
    /// Samples that the reader has not had yet, the oldest first, at most [`HISTORY_MAX`]: one a second.
    pub(crate) history: Vec<Point>,
}

/// How uneven the cores were in ten seconds, as in the metrics.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// λ, 0 to cores − 1.
    pub(crate) ratio: f64,
    /// 0 to 1.
    pub(crate) stranded: f64,
    /// Jain's index, 1/cores to 1.
    pub(crate) fairness: f64,
}

/// Something that an operator should know.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// "core 3 is at 97 %, the others at 20 %"
    pub(crate) what: String,
    /// Where it comes from; may be empty.
    pub(crate) why: String,
    /// What helps; may be empty.
    pub(crate) remedy: String,
    /// Since when it is so, as Unix time in seconds; none where nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<f64>,
    /// Whether it is no longer so: it stays for a few seconds, so that it doesn't come and go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) over: bool,
}

/// How urgent a finding is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Clients are slowed down or turned away.
    Alarm,
    /// They may be soon.
    Warning,
    #[default]
    Good,
}

/// One core, which is a worker.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Core {
    /// The CPU that it is pinned to.
    pub(crate) cpu: Option<usize>,
    /// Of the last second, 0 to 1.
    pub(crate) utilization: f64,
    /// The same over the last ten seconds.
    pub(crate) utilization_10s: f64,
    pub(crate) connections: u64,
    pub(crate) accepts: f64,
    pub(crate) bytes: f64,
    /// Part of the last second that it waited for its CPU while something else ran there.
    pub(crate) waits: f64,
    /// Connections that moved here or away.
    pub(crate) migrations: f64,
}

/// One listener.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) upstream: String,
    pub(crate) connections: u64,
    pub(crate) accepts: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
    /// Turned away at `max_connections`, or for want of descriptors.
    pub(crate) rejects: f64,
    /// Established by the kernel, and not accepted yet.
    pub(crate) waiting: u64,
}

/// One server of an upstream.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Server {
    pub(crate) upstream: String,
    pub(crate) server: String,
    /// What its health checks say, or else whether the last connect to it worked.
    pub(crate) up: bool,
    /// Whether there are health checks of it.
    pub(crate) checked: bool,
    pub(crate) connections: u64,
    /// Connects begun.
    pub(crate) connects: f64,
    pub(crate) failures: f64,
    /// From clients to the server.
    pub(crate) bytes_in: f64,
    /// From the server.
    pub(crate) bytes_out: f64,
}

/// One sample of the history.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Point {
    /// Its number since the start.
    pub(crate) number: u64,
    /// By core.
    pub(crate) utilization: Vec<f64>,
    pub(crate) imbalance: Figures,
}

/// What `/connections` answers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(crate) struct Connections {
    pub(crate) total: u64,
    pub(crate) shown: u64,
    pub(crate) connections: Vec<Connection>,
}

/// One connection.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) listener: String,
    pub(crate) client: String,
    /// None while it is being connected.
    pub(crate) server: Option<String>,
    pub(crate) core: u64,
    pub(crate) age_seconds: f64,
    pub(crate) idle_seconds: f64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) state: String,
}
