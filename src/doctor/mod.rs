//! `corelane doctor`: what this machine allows a proxy, what it lacks, and the command that mends it.

mod cgroup;
mod facts;
mod finding;
mod kernel;
mod limits;
mod need;
mod network;
mod parse;
mod start;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use proxy_config::Config;
use proxy_console::{errln, outln};

use self::facts::{Facts, Process};
pub(crate) use self::finding::{Finding, Level};
use self::need::Need;
use crate::{config_file, cpus, socket_options};

/// Looks at the machine, for a file's configuration or for the smallest one, and prints what it finds. It fails where something is
/// missing that the proxy can't do without.
pub(crate) fn doctor(file: Option<&Path>, json: bool) -> ExitCode {
    let config = match file.map(config_file::load).transpose() {
        Ok(loaded) => loaded.map(|loaded| loaded.config),
        Err(error) => {
            errln!("{:#}", anyhow::Error::from(error));
            return ExitCode::FAILURE;
        }
    };
    let findings = examine(config.as_ref());
    let is_healthy = findings.iter().all(|finding| finding.level != Level::Fail);
    let shown = match json {
        true => finding::json(&findings, is_healthy),
        false => finding::table(&findings),
    };
    outln!("{}", shown.trim_end());
    match is_healthy {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What there is to say of this machine and this process, for a configuration.
pub(crate) fn examine(config: Option<&Config>) -> Vec<Finding> {
    let need = config.map_or_else(Need::default, Need::of);
    let facts = Facts::gather(Path::new("/"));
    let process = Process::own(need.workers_or_all(), need.ring_depth);
    let mut findings = judge(&facts, &process, &need);
    findings.extend(config.into_iter().flat_map(tried));
    findings
}

/// All that can be told of facts: nothing is asked of the system.
fn judge(facts: &Facts, process: &Process, need: &Need) -> Vec<Finding> {
    let mut findings = kernel::judge(facts, process, need);
    findings.extend(limits::judge(facts, process, need));
    findings.extend(network::judge(facts, process, need));
    findings
}

/// What a start would try, and fails: each says what to do.
fn tried(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = cpus::assign(&config.runtime) {
        findings.push(Finding::fail("workers", format!("{error:#}")));
    }
    if let Err(refused) = socket_options::try_out(config) {
        let lines = refused.to_string();
        let lines = lines.lines().map(str::to_owned);
        findings.extend(lines.map(|line| Finding::fail("socket options", line)));
    }
    findings.extend(start::tried(config));
    findings
}
