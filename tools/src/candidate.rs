//! A scheduler as the tools compare it.

use std::fmt;

use proxy_config::{Config, Runtime};

/// A scheduler with those of its options that make a difference under load.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// For people, and in JSON. No other candidate has it.
    pub name: &'static str,
    /// The lines of a configuration that choose it.
    pub toml: &'static str,
    /// Chooses it in a configuration.
    pub choose: fn(&mut Runtime),
    /// What it does about cores that are unevenly busy.
    pub evens: Evens,
    /// Whether its options have their defaults: the demo shows no others.
    pub is_default: bool,
}

/// What a scheduler does about cores that are unevenly busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evens {
    /// Nothing.
    Nothing,
    /// It moves live connections from busy cores to others.
    Moves,
    /// Idle cores take the work of busy ones.
    Steals,
}

impl Candidate {
    /// A configuration, with this scheduler.
    pub(crate) fn chosen_in(&self, config: &Config) -> Config {
        let mut config = config.clone();
        (self.choose)(&mut config.runtime);
        config
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Candidate {}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
