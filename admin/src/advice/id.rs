//! The kinds of advice.

use proxy_core::backend::{Evening, Stealing};

/// The names of all advice; the label `advice` has these values and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    EnableRebalance,
    UseStealing,
    LoneElephant,
    AddCores,
    CpuStarved,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) id: Id,
    /// Why and what, in one line.
    pub(crate) text: String,
}

impl Id {
    pub(crate) const ALL: [Self; 5] = [
        Self::EnableRebalance,
        Self::UseStealing,
        Self::LoneElephant,
        Self::AddCores,
        Self::CpuStarved,
    ];

    /// The value of the label.
    pub(crate) fn name(self, stealing: Stealing) -> &'static str {
        match self {
            Self::EnableRebalance => "enable-rebalance",
            Self::UseStealing => stealing.advice,
            Self::LoneElephant => "lone-elephant",
            Self::AddCores => "add-cores",
            Self::CpuStarved => "cpu-starved",
        }
    }

    /// What helps, where there are CPUs that no worker has, or none.
    pub(super) fn remedy(
        self,
        evening: Evening,
        stealing: Stealing,
        has_spare_cpus: bool,
    ) -> String {
        let remedy = match self {
            Self::EnableRebalance => {
                let Evening::CouldMove(how) = evening else {
                    return String::new();
                };
                return format!("{how}, or use {}, whose workers steal", stealing.keys);
            }
            Self::UseStealing => {
                return format!(
                    "use {}; `corelane compare FILE --record` tells what that costs",
                    stealing.keys
                );
            }
            Self::LoneElephant => {
                "one connection is more than a core, most likely, and no scheduler can part it; spread it over several \
                 connections, or leave it"
            }
            Self::AddCores if !has_spare_cpus => {
                "it has all CPUs that it may use: give it a larger machine, or put a second one beside it"
            }
            Self::AddCores => {
                "give it more CPUs in [runtime] cores, or put a second machine beside it"
            }
            Self::CpuStarved => {
                "others use its CPU: name CPUs in [runtime] cores that they leave alone, or raise the container's limit"
            }
        };
        remedy.to_owned()
    }
}
