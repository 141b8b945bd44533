//! What an operator should know, in words: what, why, and what helps.

mod balance;
mod cpu;
mod fault;
mod hold;
mod rejections;
mod reload;
mod servers;
mod tense;
#[cfg(test)]
mod tests;
mod unanswered;

use std::time::{Duration, SystemTime};

pub(super) use self::hold::Held;
use self::tense::Told;
use super::recent::Recent;
use super::sampler::Origin;
use crate::observed::Observed;
use crate::utc::Utc;
use proxy_core::View;
use proxy_state::{Finding, Level, State};

/// Findings that are told at most; the first ones are the most urgent.
pub(super) const FINDINGS_MAX: usize = 6;

/// What findings are made of.
pub(super) struct Scene<'a> {
    /// Its findings are not looked at.
    pub(super) state: &'a State,
    pub(super) observed: &'a Observed,
    /// All that has a name.
    pub(super) view: &'a View,
    pub(super) recent: &'a Recent,
    /// What times count from.
    pub(super) origin: Origin,
    /// Now, since the origin.
    pub(super) at: Duration,
    /// Whether there are CPUs that no worker has.
    pub(super) has_spare_cpus: bool,
}

/// What a finding is about. One is shown of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Balance,
    Cpu,
    Servers,
    Unanswered,
    Limit,
    Descriptors,
    Reload,
    Drain,
}

impl Subject {
    /// Whether it is no measurement, which may come and go, but a fact.
    fn ends_at_once(self) -> bool {
        matches!(self, Self::Reload | Self::Drain)
    }
}

/// Something that was found.
struct Found {
    subject: Subject,
    told: Told,
    /// When it was last true, since the start.
    last: Duration,
}

/// The findings of a moment, and those that were found a moment ago; never empty.
pub(super) fn of(scene: &Scene<'_>, held: &mut Held) -> Vec<Finding> {
    let now = |subject, told| Found {
        subject,
        told,
        last: scene.at,
    };
    let mut found = vec![now(Subject::Balance, balance::of(scene))];
    found.extend(cpu::of(scene.state).map(|told| now(Subject::Cpu, told)));
    found.extend(servers::of(scene));
    found.extend(unanswered::of(scene).map(|told| now(Subject::Unanswered, told)));
    found.extend(rejections::of(scene));
    found.extend(reload::of(scene).map(|finding| now(Subject::Reload, Told::fact(finding))));
    if scene.state.draining {
        let what = "it drains: no new connections are taken";
        let told = Told::fact(finding(Level::Warning, what, "", ""));
        found.push(now(Subject::Drain, told));
    }
    let mut findings = held.on_look(found, scene.at, scene.utc(scene.at));
    // Stable: what was found first of a level stays first. What is over comes after all that is wrong.
    findings.sort_by_key(|finding| (finding.level == Level::Good, finding.over, finding.level));
    findings.truncate(FINDINGS_MAX);
    findings
}

impl Scene<'_> {
    fn utc(&self, at: Duration) -> SystemTime {
        self.origin.utc + at
    }

    /// A time as it is said: of today, or with its date.
    fn clock(&self, time: SystemTime) -> String {
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

/// As a [`Finding`] says since when it is.
fn unix_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64().round()
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

fn finding(level: Level, what: &str, why: &str, remedy: &str) -> Finding {
    Finding {
        level,
        what: what.to_owned(),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
        ..Finding::default()
    }
}
