//! `[upstreams.NAME.health]`: asking servers whether they still take connections.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::raw::section::Section;

/// The options of an upstream's health checks: a connect to each server, closed as soon as it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `interval`: how often each server is checked.
    pub interval: Duration,
    /// `timeout`: how long a server's address may take to accept the check's connection.
    pub timeout: Duration,
    /// `rise`: checks in a row that must pass until a server that is down is up.
    pub rise: NonZeroU32,
    /// `fall`: checks in a row that must fail until a server that is up is down.
    pub fall: NonZeroU32,
}

/// Reads the section of an upstream, if it is written.
pub(crate) fn read(upstream: &mut Section<'_>) -> Option<Health> {
    upstream.optional_section("health", read_section)
}

pub(crate) fn read_section(section: &mut Section<'_>) -> Health {
    Health {
        interval: section.value("interval"),
        timeout: section.value("timeout"),
        rise: section.value("rise"),
        fall: section.value("fall"),
    }
}
