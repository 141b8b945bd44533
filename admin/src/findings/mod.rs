//! What an operator should know, in words: what, why, and what helps.

mod balance;
mod client_lists;
mod cpu;
pub(crate) mod fault;
mod found;
mod headers;
mod hold;
mod rejections;
mod reload;
mod scene;
mod servers;
mod tense;
#[cfg(test)]
mod tests;
mod unanswered;
mod unheard;

use proxy_state::{Finding, Level};

pub(crate) use self::found::unix_seconds;
use self::found::{Found, Subject, finding};
pub(super) use self::hold::Held;
pub(super) use self::scene::Scene;
use self::tense::Told;

/// Findings that are told at most; the first ones are the most urgent.
pub(super) const FINDINGS_MAX: usize = 6;

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
    found.extend(headers::of(scene));
    found.extend(unheard::of(scene));
    found.extend(reload::of(scene).map(|finding| now(Subject::Reload, Told::fact(finding))));
    let lists = client_lists::of(scene);
    found.extend(lists.map(|finding| now(Subject::ClientLists, Told::fact(finding))));
    if scene.state.draining {
        let what = "it drains: no new connections are taken";
        let told = Told::fact(finding(Level::Warning, what, "", ""));
        found.push(now(Subject::Drain, told));
    }
    let mut findings = held.on_sample(found, scene.at, scene.utc(scene.at));
    // Stable: what was found first of a level stays first. What is over comes after all that is wrong.
    findings.sort_by_key(|finding| (finding.level == Level::Good, finding.over, finding.level));
    findings.truncate(FINDINGS_MAX);
    findings
}
