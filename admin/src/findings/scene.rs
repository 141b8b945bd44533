//! What findings are made of.

use std::time::{Duration, SystemTime};

use proxy_core::View;
use proxy_state::State;

use crate::observed::Observed;
use crate::sampling::origin::Origin;
use crate::sampling::recent::Recent;
use crate::utc::Utc;

/// What findings are made of.
pub(crate) struct Scene<'a> {
    /// Its findings are not looked at.
    pub(crate) state: &'a State,
    pub(crate) observed: &'a Observed,
    /// All that has a name.
    pub(crate) view: &'a View,
    pub(crate) recent: &'a Recent,
    /// What times count from.
    pub(crate) origin: Origin,
    /// Now, since the origin.
    pub(crate) at: Duration,
    /// Whether there are CPUs that no worker has.
    pub(crate) has_spare_cpus: bool,
}

impl Scene<'_> {
    pub(super) fn utc(&self, at: Duration) -> SystemTime {
        self.origin.utc + at
    }

    /// A time as it is said: of today, or with its date.
    pub(super) fn clock(&self, time: SystemTime) -> String {
        let [then, today] = [time, self.utc(self.at)].map(|time| Utc(time).to_string());
        let (date, time) = then.split_once('T').unwrap_or((&then, ""));
        let time = time.split('.').next().unwrap_or_default();
        if today.starts_with(date) {
            format!("{time} UTC")
        } else {
            format!("{date} {time} UTC")
        }
    }
}
