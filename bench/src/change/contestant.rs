//! What changes while connections run: which proxy, and how it is told.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use rustix::process::Signal;

use crate::system::{Scheduler, System};

const SCHEDULERS: [Scheduler; 3] = [
    Scheduler::Glommio,
    Scheduler::WorkStealing,
    Scheduler::PerCore,
];

/// One change of one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contestant {
    /// Master and worker, which lends its listening sockets to the next one.
    Haproxy,
    Nginx,
    /// A longer idle timeout and one more server.
    Reload(Scheduler),
    /// `[runtime]` alone.
    Switch {
        from: Scheduler,
        to: Scheduler,
    },
}

impl Contestant {
    /// All there are.
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::Haproxy, Self::Nginx];
        all.extend(SCHEDULERS.map(Self::Reload));
        for from in SCHEDULERS {
            let others = SCHEDULERS.into_iter().filter(|to| *to != from);
            all.extend(others.map(|to| Self::Switch { from, to }));
        }
        all
    }

    /// Those that `words` name, each once, in the order named.
    pub(super) fn named(words: &[String]) -> anyhow::Result<Vec<Self>> {
        let mut contestants = Vec::new();
        for word in words {
            let switches = |one: &Self| matches!(one, Self::Switch { .. });
            let all = Self::all().into_iter();
            let named: Vec<Self> = match word.as_str() {
                "all" => all.collect(),
                "switches" => all.filter(switches).collect(),
                "reloads" => all.filter(|one| !switches(one)).collect(),
                name => vec![name.parse()?],
            };
            for contestant in named {
                if !contestants.contains(&contestant) {
                    contestants.push(contestant);
                }
            }
        }
        Ok(contestants)
    }

    /// The proxy as it is started.
    pub(super) fn system(self) -> System {
        match self {
            Self::Haproxy => System::Haproxy { splice: false },
            Self::Nginx => System::Nginx { buffer: "16k" },
            Self::Reload(scheduler)
            | Self::Switch {
                from: scheduler, ..
            } => System::Corelane(scheduler),
        }
    }

    /// What is sent to it when its file has changed.
    pub(super) fn signal(self) -> Signal {
        match self {
            Self::Haproxy => Signal::USR2,
            Self::Nginx | Self::Reload(_) | Self::Switch { .. } => Signal::HUP,
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Switch { from, to } = *self else {
            return f.pad(&self.system().to_string());
        };
        let name = |scheduler| {
            let name = System::Corelane(scheduler).to_string();
            name.trim_start_matches("corelane-").to_owned()
        };
        f.pad(&format!("{}-to-{}", name(from), name(to)))
    }
}

impl FromStr for Contestant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let all = Self::all();
        match all.iter().find(|one| one.to_string() == text) {
            Some(one) => Ok(*one),
            None => {
                let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                bail!(
                    "no contestant {text:?}; there are {}, reloads, switches and all",
                    names.join(", ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_what_it_names() {
        for one in Contestant::all() {
            assert_eq!(one.to_string().parse::<Contestant>().unwrap(), one);
        }
        let words = |text: &str| vec![text.to_owned()];
        assert_eq!(Contestant::named(&words("switches")).unwrap().len(), 6);
        assert_eq!(Contestant::named(&words("reloads")).unwrap().len(), 5);
        let error = Contestant::named(&words("envoy")).unwrap_err().to_string();
        assert!(error.contains("glommio-to-tokio-per-core"), "{error}");
    }
}
