//! Keys of `[listeners.NAME]` that say who gets in.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use crate::raw::choice::choices;
use crate::raw::section::Section;
use crate::values::access::{AccessEntry, access_entry};
use crate::values::size::Size;

/// The most entries of `allow` and of `deny` in the configuration itself; files have more.
pub const ACCESS_ENTRIES_MAX: usize = 1024;

/// The highest rate of connections: a million a second.
pub const RATE_MAX: u64 = 1_000_000;

/// The least bandwidth, in bytes a second.
pub const BANDWIDTH_MIN: u64 = 1 << 10;

/// The most.
pub const BANDWIDTH_MAX: u64 = 1 << 40;

/// Who gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// `allow`: where it is not empty, others are kept out. The longest prefix decides, and `deny` where both have it.
    pub allow: Vec<AccessEntry>,
    /// `deny`: who is kept out.
    pub deny: Vec<AccessEntry>,
    /// `max_connections_per_source`: connections that a source may have open at a time. Absent: no limit.
    pub max_connections_per_source: Option<NonZeroU32>,
    /// `source_prefix`: bits of an address of IPv6 that make a source.
    pub source_prefix: NonZeroU16,
    /// `max_rate`: connections that may begin in a second. Absent: no limit.
    pub max_rate: Option<NonZeroU32>,
    /// `burst`: of these, how many may begin at once. Absent: as many as in a second.
    pub burst: Option<NonZeroU32>,
    /// `max_rate_per_source`: connections that a source may begin in a second. Absent: no limit.
    pub max_rate_per_source: Option<NonZeroU32>,
    /// `burst_per_source`: of these, how many may begin at once. Absent: `burst`, or else as many as in a second.
    pub burst_per_source: Option<NonZeroU32>,
    /// `bandwidth`: bytes a second of all connections together, each way. Absent: no limit.
    pub bandwidth: Option<Size>,
    /// `bandwidth_per_connection`: the same of each connection.
    pub bandwidth_per_connection: Option<Size>,
    /// `over_limit`: what happens to clients beyond a limit.
    pub over_limit: OverLimit,
}

choices! {
    /// What happens to clients beyond a limit; displayed as it is written.
    pub enum OverLimit {
        /// They are closed.
        Close = "close",
        /// They are reset.
        Reset = "reset",
        /// They wait, where a limit is not their own.
        Wait = "wait",
    }
}

impl Admission {
    /// The files that list clients; one may be there twice.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let entries = self.allow.iter().chain(&self.deny);
        entries.filter_map(|entry| match entry {
            AccessEntry::File(path) => Some(path),
            AccessEntry::Clients(_) => None,
        })
    }

    /// Whether anybody is let in or kept out by their address.
    pub fn has_lists(&self) -> bool {
        !(self.allow.is_empty() && self.deny.is_empty())
    }
}

pub(crate) fn read(section: &mut Section<'_>) -> Admission {
    let mut entries = |key| {
        let nodes = section.elements(key);
        nodes
            .iter()
            .filter_map(|node| node.read(access_entry))
            .collect()
    };
    Admission {
        allow: entries("allow"),
        deny: entries("deny"),
        max_connections_per_source: section.optional("max_connections_per_source"),
        source_prefix: section.value("source_prefix"),
        max_rate: section.optional("max_rate"),
        burst: section.optional("burst"),
        max_rate_per_source: section.optional("max_rate_per_source"),
        burst_per_source: section.optional("burst_per_source"),
        bandwidth: section.optional("bandwidth"),
        bandwidth_per_connection: section.optional("bandwidth_per_connection"),
        over_limit: section.value("over_limit"),
    }
}
