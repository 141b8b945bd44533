//! Which routes ask for a server name: found by the name, however many there are.

use std::collections::HashMap;
use std::fmt;

/// A name that a route asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// This one.
    Exact(Box<str>),
    /// All that end in a dot and this one, at any depth.
    Under(Box<str>),
    /// Any.
    Any,
}

/// Places of routes by the names that they ask for. Each list is in the order of the routes.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, Vec<u32>>,
    under: HashMap<Box<str>, Vec<u32>>,
    any: Vec<u32>,
}

impl NamePattern {
    /// "a.example", "*.example" or "*".
    pub fn new(written: &str) -> Self {
        let written = written.to_ascii_lowercase();
        match written.strip_prefix("*.") {
            _ if written == "*" => Self::Any,
            Some(rest) => Self::Under(rest.into()),
            None => Self::Exact(written.into()),
        }
    }
}

/// As it is written.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Names {
    /// A route asks for this name. Routes come in their order.
    pub(super) fn add(&mut self, pattern: &NamePattern, route: u32) {
        let list = match pattern {
            NamePattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            NamePattern::Under(name) => self.under.entry(name.clone()).or_default(),
            NamePattern::Any => &mut self.any,
        };
        if list.last() != Some(&route) {
            list.push(route);
        }
    }

    /// Hands the routes that a name suits to `take`, a list for each pattern. Where there are patterns with a `*`, that is one
    /// more look-up for each label.
    pub(super) fn each_of<'a>(&'a self, name: &str, mut take: impl FnMut(&'a [u32])) {
        if let Some(exact) = self.exact.get(name) {
            take(exact);
        }
        if !self.under.is_empty() {
            for (at, _) in name.match_indices('.') {
                if let Some(under) = self.under.get(&name[at + 1..]) {
                    take(under);
                }
            }
        }
        take(&self.any);
    }
}
