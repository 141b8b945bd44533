//! What changes while connections run: which proxy, and how it is told.

use std::fmt;
use std::str::FromStr;

use rustix::process::Signal;

use crate::named::{each_once, one_of};
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
        each_once(words, |word| {
            let switches = |one: &Self| matches!(one, Self::Switch { .. });
            let all = Self::all().into_iter();
            Ok(match word {
                "all" => all.collect(),
                "switches" => all.filter(switches).collect(),
                "reloads" => all.filter(|one| !switches(one)).collect(),
                name => vec![name.parse()?],
            })
        })
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
        f.pad(&match *self {
            Self::Switch { from, to } => switch_name(from, to),
            _ => self.system().to_string(),
        })
    }
}

/// The name of a contestant that goes from one scheduler to another.
pub(super) fn switch_name(from: Scheduler, to: Scheduler) -> String {
    let [from, to] = [from, to].map(|scheduler| {
        let name = System::Corelane(scheduler).to_string();
        name.trim_start_matches("corelane-").to_owned()
    });
    format!("{from}-to-{to}")
}

impl FromStr for Contestant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        one_of(
            "contestant",
            text,
            &Self::all(),
            "reloads, switches and all",
        )
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
