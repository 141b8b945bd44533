//! Which proxy is upgraded.

use std::fmt;
use std::str::FromStr;

use crate::change::contestant::switch_name;
use crate::named::{each_once, one_of};
use crate::system::{Scheduler, System};

/// One proxy, and what becomes of the connections that its old processes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contestant {
    /// Old workers have a time to end (`hard-stop-after`), or as long as their connections last.
    Haproxy {
        limit: bool,
    },
    /// The same (`worker_shutdown_timeout`).
    Nginx {
        limit: bool,
    },
    /// By hot restart, which has such a limit always.
    Envoy,
    Corelane(Scheduler),
    /// One upgrade, to another scheduler as well.
    Switching {
        from: Scheduler,
        to: Scheduler,
    },
}

impl Contestant {
    /// All there are.
    pub(super) fn all() -> [Self; 9] {
        [
            Self::Haproxy { limit: true },
            Self::Haproxy { limit: false },
            Self::Nginx { limit: true },
            Self::Nginx { limit: false },
            Self::Envoy,
            Self::Corelane(Scheduler::Glommio),
            Self::Corelane(Scheduler::WorkStealing),
            Self::Corelane(Scheduler::PerCore),
            Self::Switching {
                from: Scheduler::Glommio,
                to: Scheduler::WorkStealing,
            },
        ]
    }

    /// Those that `words` name, each once, in the order named.
    pub(super) fn named(words: &[String]) -> anyhow::Result<Vec<Self>> {
        each_once(words, |word| match word {
            "all" => Ok(Self::all().to_vec()),
            name => Ok(vec![name.parse()?]),
        })
    }

    /// The proxy as it is started.
    pub(super) fn system(self) -> System {
        match self {
            Self::Haproxy { .. } => System::Haproxy { splice: false },
            Self::Nginx { .. } => System::Nginx { buffer: "16k" },
            Self::Envoy => System::Envoy,
            Self::Corelane(scheduler)
            | Self::Switching {
                from: scheduler, ..
            } => System::Corelane(scheduler),
        }
    }

    /// Whether old processes end after a time, whatever connections they have.
    pub(super) fn has_limit(self) -> bool {
        matches!(
            self,
            Self::Haproxy { limit: true } | Self::Nginx { limit: true } | Self::Envoy
        )
    }

    /// The scheduler that runs after upgrade `step`.
    pub(super) fn scheduler(self, step: u32) -> Option<Scheduler> {
        match self {
            Self::Corelane(scheduler) => Some(scheduler),
            Self::Switching { from, to } => Some(if step == 0 { from } else { to }),
            Self::Haproxy { .. } | Self::Nginx { .. } | Self::Envoy => None,
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match *self {
            Self::Haproxy { limit: false } => "haproxy-no-limit".to_owned(),
            Self::Nginx { limit: false } => "nginx-no-limit".to_owned(),
            Self::Switching { from, to } => switch_name(from, to),
            _ => self.system().to_string(),
        })
    }
}

impl FromStr for Contestant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        one_of("contestant", text, &Self::all(), "and all")
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
        let words = ["all".to_owned(), "envoy".to_owned()];
        assert_eq!(Contestant::named(&words).unwrap().len(), 9);
        let error = Contestant::named(&["squid".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("glommio-to-tokio"), "{error}");
    }
}
