//! Keys of `[listeners.NAME]` that say who gets in.

use std::path::PathBuf;

use crate::raw::section::Section;
use crate::values::access::{AccessEntry, access_entry};

/// The most entries of `allow` and of `deny` in the configuration itself; files have more.
pub const ACCESS_ENTRIES_MAX: usize = 1024;

/// Who gets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// `allow`: where it is not empty, others are kept out. The longest prefix decides, and `deny` where both have it.
    pub allow: Vec<AccessEntry>,
    /// `deny`: who is kept out.
    pub deny: Vec<AccessEntry>,
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
    }
}
