//! `corelane check --explain`: what a configuration means on this machine, and what is dangerous in it.

mod dangers;
mod names;

use std::fmt::Write as _;

use proxy_config::{Config, Cores};

pub(crate) use self::dangers::dangers;
use crate::doctor::{Finding, Level};
use crate::{cpus, scheduler};

/// What keeps a start with this configuration from succeeding here.
pub(crate) fn obstacles(findings: &[Finding]) -> impl Iterator<Item = String> {
    let failed = findings.iter().filter(|one| one.level == Level::Fail);
    failed.map(|Finding { name, found, .. }| format!("a start would fail here: {name}: {found}"))
}

/// A file that means the same, with all that is known of it in comments.
pub(crate) fn explain(config: &Config, findings: &[Finding]) -> String {
    let mut text = config.to_toml();
    text += &workers(config);
    text += &names::explain(config);
    text += "# Limits of this machine and this process:\n";
    for finding in findings {
        let _ = writeln!(
            text,
            "# {:<5} {}: {}",
            finding.level, finding.name, finding.found
        );
        if let Some(mend) = finding.mend.as_ref().filter(|_| finding.level != Level::Ok) {
            let _ = writeln!(text, "#       mend: {mend}");
        }
    }
    text
}

/// Which worker has which CPU.
fn workers(config: &Config) -> String {
    let runtime = &config.runtime;
    let assigned = match cpus::assign(runtime) {
        Ok(assigned) => assigned,
        // The limits tell.
        Err(_) => return String::new(),
    };
    let mut text = format!("# Workers of {}", scheduler::name(runtime));
    let _ = match scheduler::cannot_run(assigned.len(), runtime) {
        Some(_) => writeln!(text, ", which can't run here:"),
        None => writeln!(text, ":"),
    };
    for (worker, cpu) in assigned.iter().enumerate() {
        let _ = match cpu {
            Some(cpu) => writeln!(text, "# worker {worker} on CPU {cpu}"),
            None => writeln!(text, "# worker {worker} on any CPU, as pin = false"),
        };
    }
    if matches!(runtime.cores, Cores::All) {
        text += "# cores = \"all\" is those that this process may use\n";
    }
    text.push('\n');
    text
}
