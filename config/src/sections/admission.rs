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
    /// `allow_peer`: as `allow`, by who has connected, whichever client it announces.
    pub allow_peer: Vec<AccessEntry>,
    /// `deny_peer`: the same of who is kept out.
    pub deny_peer: Vec<AccessEntry>,
    /// `max_connections_per_source`: connections that a source may have open at a time. Absent: no limit.
    pub max_connections_per_source: Option<NonZeroU32>,
    /// `max_headers_per_peer`: connections of one peer that announce clients and have not done so yet. Absent:
    /// `max_connections_per_source` for peers that `trusted` doesn't name, and no limit for those that it names.
    pub max_headers_per_peer: Option<NonZeroU32>,
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

/// Who is let in and who is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLists<'a> {
    /// Where it is not empty, others are kept out.
    pub allow: &'a [AccessEntry],
    /// Who is kept out.
    pub deny: &'a [AccessEntry],
}

impl<'a> AccessLists<'a> {
    fn of(allow: &'a [AccessEntry], deny: &'a [AccessEntry]) -> Option<Self> {
        let is_there = !(allow.is_empty() && deny.is_empty());
        is_there.then_some(Self { allow, deny })
    }
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
        let lists = [&self.allow, &self.deny, &self.allow_peer, &self.deny_peer];
        let entries = lists.into_iter().flatten();
        entries.filter_map(|entry| match entry {
            AccessEntry::File(path) => Some(path),
            AccessEntry::Clients(_) => None,
        })
    }

    /// The lists of clients; none if nobody is let in or kept out by them.
    pub fn clients(&self) -> Option<AccessLists<'_>> {
        AccessLists::of(&self.allow, &self.deny)
    }

    /// The lists of peers, whichever clients they announce.
    pub fn peers(&self) -> Option<AccessLists<'_>> {
        AccessLists::of(&self.allow_peer, &self.deny_peer)
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
        allow_peer: entries("allow_peer"),
        deny_peer: entries("deny_peer"),
        max_connections_per_source: section.optional("max_connections_per_source"),
        max_headers_per_peer: section.optional("max_headers_per_peer"),
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
