//! The keys of `[listeners.NAME]` that end connections by time.

use std::time::Duration;

use crate::raw::section::Section;
use crate::values::percent::Percent;

/// When connections of a listener are ended though both sides are there. Absent, which is `"off"` in the file, is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// `idle_timeout`: how long a connection may be silent before it is closed.
    pub idle: Option<Duration>,
    /// `client_idle_timeout`: how long the client may say nothing, whatever the server does.
    pub client_idle: Option<Duration>,
    /// `server_idle_timeout`: the same of the server.
    pub server_idle: Option<Duration>,
    /// `half_closed_timeout`: how long a connection goes on after one of its streams has ended.
    pub half_closed: Option<Duration>,
    /// `max_lifetime`: how long a connection may last.
    pub max_lifetime: Option<Duration>,
    /// `lifetime_jitter`: by how much of `max_lifetime` connections' own lifetimes are shorter, at most.
    pub lifetime_jitter: Percent,
}

pub(crate) fn read(listener: &mut Section<'_>) -> Times {
    Times {
        idle: listener.value("idle_timeout"),
        client_idle: listener.value("client_idle_timeout"),
        server_idle: listener.value("server_idle_timeout"),
        half_closed: listener.value("half_closed_timeout"),
        max_lifetime: listener.value("max_lifetime"),
        lifetime_jitter: listener.value("lifetime_jitter"),
    }
}
