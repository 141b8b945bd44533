//! What the live page and `corelane top` show: one moment of a proxy, as JSON.
//!
//! The admin server writes it (`/state`, `/events`) and `corelane top` reads it, maybe from another version: a field
//! that is new there is ignored, one that is missing is empty.

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// Samples of the history: two minutes of them.
pub const HISTORY_MAX: usize = 120;

/// Points of the last hour, as many as there are of the last two minutes.
pub const HOUR_MAX: usize = 120;

/// Samples of which a point of the last hour is the mean.
pub const HOUR_STEP: u64 = 30;

/// Servers that are shown, over all upstreams: those that are down first, then the busiest. Those beyond are only counted, but what is
/// found is found among all.
pub const SERVERS_SHOWN_MAX: usize = 1024;

/// Routes that are shown, over all listeners: the busiest. Those beyond are only counted.
pub const ROUTES_SHOWN_MAX: usize = 256;

/// One moment. Rates are of the last second, and in a second.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct State {
    /// Of the proxy.
    pub version: String,
    /// The name of the machine; empty where another version doesn't say it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The scheduler, as the label `scheduler` has it.
    pub scheduler: String,
    /// How it runs, as the label `mode` has it.
    pub mode: String,
    /// Whether every worker stays on its CPU.
    pub pinned: bool,
    /// Whether it takes no new connections.
    pub draining: bool,
    /// Since the admin server started.
    pub uptime_seconds: f64,
    /// Now, by the proxy's clock, as Unix time in seconds.
    pub unix_seconds: f64,
    /// Live ones.
    pub connections: u64,
    /// From clients, a second.
    pub bytes_in: f64,
    /// To clients, a second.
    pub bytes_out: f64,
    /// What there is to say about it in words, the most urgent first; never empty.
    pub findings: Vec<Finding>,
    /// What the adviser says about the scheduler.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// How uneven the cores were.
    pub imbalance: Figures,
    /// What a core is coloured by.
    pub limits: Limits,
    /// In order.
    pub cores: Vec<Core>,
    /// In the order of the configuration.
    pub listeners: Vec<Listener>,
    /// Of the listeners that have some, in the order of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Routes beyond [`ROUTES_SHOWN_MAX`].
    #[serde(skip_serializing_if = "is_zero")]
    pub routes_left_out: usize,
    /// Each with all of its servers, also those that are left out below, in the order of the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    /// Those that are down first, then those with failures, then the others in the order of the configuration.
    pub servers: Vec<Server>,
    /// Servers beyond [`SERVERS_SHOWN_MAX`].
    pub servers_left_out: usize,
    /// Samples that the reader has not had yet, the oldest first, at most [`HISTORY_MAX`]: one a second.
    pub history: Vec<Point>,
    /// Points of the last hour that the reader has not had yet, the oldest first, at most [`HOUR_MAX`]: one for [`HOUR_STEP`] samples,
    /// with the number of the last of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hour: Vec<Point>,
}

/// How uneven the cores were in ten seconds, as in the metrics.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Figures {
    /// λ, 0 to cores − 1.
    pub ratio: f64,
    /// 0 to 1.
    pub stranded: f64,
    /// Jain's index, 1/cores to 1.
    pub fairness: f64,
}

/// Something that an operator should know.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Finding {
    /// How urgent it is.
    pub level: Level,
    /// "core 3 is at 97 %, the others at 20 %"
    pub what: String,
    /// Where it comes from; may be empty.
    pub why: String,
    /// What helps; may be empty.
    pub remedy: String,
    /// Since when it is so, as Unix time in seconds; none where nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// Whether it is over: it stays for a few seconds, so that it doesn't come and go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}

/// How urgent a finding is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Clients are slowed down or turned away.
    Alarm,
    /// They may be soon.
    Warning,
    /// Nothing is wrong.
    #[default]
    Good,
}

/// One core, which is a worker.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Core {
    /// The CPU that it is pinned to.
    pub cpu: Option<usize>,
    /// Of the last second, 0 to 1.
    pub utilization: f64,
    /// The same over the last ten seconds.
    pub utilization_10s: f64,
    /// Live ones.
    pub connections: u64,
    /// Connections taken, a second.
    pub accepts: f64,
    /// Forwarded, a second.
    pub bytes: f64,
    /// Part of the last second that it waited for its CPU while something else ran there.
    pub waits: f64,
    /// Connections that moved here or away.
    pub migrations: f64,
}

/// One listener.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Listener {
    /// As it is configured.
    pub name: String,
    /// The name of its upstream.
    pub upstream: String,
    /// Live ones.
    pub connections: u64,
    /// Connections taken, a second.
    pub accepts: f64,
    /// From clients, a second.
    pub bytes_in: f64,
    /// To clients, a second.
    pub bytes_out: f64,
    /// Turned away at a limit, by a list or a route, for what they said first, or as no descriptor was left.
    pub rejects: f64,
    /// The same, since the start.
    #[serde(skip_serializing_if = "is_none")]
    pub rejected: u64,
    /// "paused" or "drained", where somebody has set that; empty: it takes clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Established by the kernel, and not accepted yet.
    pub waiting: u64,
    /// The most that it takes at a time; none: as many as come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u64>,
    /// Connections that it has taken, since the start.
    pub accepted: u64,
}

/// One route of a listener. Routes of one name are one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Route {
    /// The name of its listener.
    pub listener: String,
    /// What it is called; empty: it stands for connections that no route takes, and that are refused.
    pub route: String,
    /// What it asks for, in words; empty: nothing.
    pub asks: String,
    /// Where its connections go; nowhere: they are refused.
    pub to: Vec<Target>,
    /// Connections that took it, since the start.
    pub connections: u64,
    /// The same, a second.
    pub accepts: f64,
}

/// An upstream that a route leads to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Target {
    /// Its name.
    pub upstream: String,
    /// Its part of the route's connections by weight, 0 to 1; none: it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// One upstream: sums over all of its servers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Servers that it is configured with, or that its source names.
    pub servers: usize,
    /// Those of them that are up.
    pub up: usize,
    /// Servers that were removed, and are shown for a while.
    #[serde(skip_serializing_if = "is_zero")]
    pub removed: usize,
    /// Live ones, those of removed servers too.
    pub connections: u64,
    /// Connects begun.
    pub connects: f64,
    /// Connects that failed, a second.
    pub failures: f64,
    /// From clients to the servers.
    pub bytes_in: f64,
    /// From the servers.
    pub bytes_out: f64,
}

/// One server of an upstream.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Server {
    /// The name of its upstream.
    pub upstream: String,
    /// Its address, as it is configured.
    pub server: String,
    /// What its health checks say, or else whether the last connect to it worked.
    pub up: bool,
    /// Whether there are health checks of it.
    pub checked: bool,
    /// The state that it is in, as the label `state` has it; "removed" where it is not configured any more.
    pub state: String,
    /// Why, where it is not up; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Since when it is in that state, as Unix time in seconds; none where nobody knows, as of one that is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// How often it was ejected, since the start.
    #[serde(skip_serializing_if = "is_none")]
    pub ejections: u64,
    /// Its weight among the servers of its upstream that is in force, by its agent and by how new it is, too; none where it
    /// was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The weight that is configured, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configured_weight: Option<f64>,
    /// The part of its upstream's connections that it is to have by the weights of those that are up, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<f64>,
    /// The part of its upstream's connections that it has; none where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub had: Option<f64>,
    /// Clients that wait for a place at any server of its upstream; none where no client may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u64>,
    /// How long the first of them has waited, in seconds; none where nobody waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_seconds: Option<f64>,
    /// How long the last health check of it took, in seconds; none where it was not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_seconds: Option<f64>,
    /// How its connections end that may not stay; none where they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// Live ones.
    pub connections: u64,
    /// The most that it has at a time, by its agent as well; none: as many as come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u64>,
    /// Connects begun.
    pub connects: f64,
    /// Connects that failed, a second.
    pub failures: f64,
    /// From clients to the server.
    pub bytes_in: f64,
    /// From the server.
    pub bytes_out: f64,
}

/// How connections of a server end that may not stay.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Closing {
    /// What ends them, as its key is called: "on_down" or "on_removed".
    pub fate: String,
    /// "reset" or "close".
    pub how: String,
    /// When the last one is due, as Unix time in seconds.
    pub until: f64,
}

/// One sample of the history.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Point {
    /// Its number since the start.
    pub number: u64,
    /// By core.
    pub utilization: Vec<f64>,
    /// How uneven the cores were.
    pub imbalance: Figures,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What `/connections` answers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Connections {
    /// All that match.
    pub total: u64,
    /// Those that are listed.
    pub shown: u64,
    /// In the order that was asked for.
    pub connections: Vec<Connection>,
}

/// One connection.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Connection {
    /// Its number since the start.
    pub id: u64,
    /// The name of its listener.
    pub listener: String,
    /// The client's address.
    pub client: String,
    /// The address of who has connected: the client's, or a balancer's that announced it.
    pub peer: String,
    /// The name that the client asked for under TLS.
    pub sni: Option<String>,
    /// The protocols that it offered under TLS.
    pub alpn: Option<String>,
    /// The route that it took.
    pub route: Option<String>,
    /// None while it is being connected.
    pub server: Option<String>,
    /// The core that has it.
    pub core: u64,
    /// Since it was accepted.
    pub age_seconds: f64,
    /// Since its last byte.
    pub idle_seconds: f64,
    /// From the client, so far.
    pub bytes_in: u64,
    /// To the client, so far.
    pub bytes_out: u64,
    /// What it does: "prologue", "connecting" or "relaying".
    pub state: String,
}
