//! Memory references and cache misses a message. Where the CPU's counters aren't available, callgrind's model of a cache
//! stands in for them; it sees user space alone, and each thread by turns in one cache.

use std::fmt::Write as _;
use std::process::Command;

use super::echo::{self, WORKLOAD};
use crate::counts::{Tool, count};
use crate::proxy::Start;
use crate::system::Tuning;
use crate::visit::Duty;

/// What the article counts, by perf's names.
const EVENTS: &str = "L1-dcache-loads,L1-dcache-load-misses,cache-references,cache-misses";

/// References and misses of each echo server.
pub(super) fn table(cpu: usize) -> String {
    let start = Start {
        cpus: &[cpu],
        corelane: None,
        prefix: &[],
        tuning: Tuning::default(),
        duty: Duty::Relay,
    };
    let mut text = format!(
        "### Memory references and cache misses\n\nThe CPU's own counters: {}. In their place, what callgrind counts \
         and simulates (`--cache-sim=yes`), in user space alone, a round trip.\n\n| server | memory references | to Tokio's | L1 data misses | to Tokio's |\n\
         |---|--:|--:|--:|--:|\n",
        counters()
    );
    let mut reasons = String::new();
    let mut tokio = [None; 2];
    for system in echo::systems() {
        let _ = write!(text, "| {system} |");
        for (tool, tokio) in [Tool::References, Tool::Misses].into_iter().zip(&mut tokio) {
            match count(tool, WORKLOAD, system, start) {
                Ok(message) => {
                    // Two messages of the harness's, of which a proxy would pass one each way.
                    let figure = 2.0 * message;
                    let tokio = *tokio.get_or_insert(figure);
                    let _ = write!(
                        text,
                        " {figure:.*} | {:.2} |",
                        tool.digits(),
                        figure / tokio
                    );
                }
                Err(error) => {
                    text.push_str(" – | – |");
                    let reason = error.to_string();
                    let reason = reason.lines().next().unwrap_or_default();
                    let _ = writeln!(reasons, "- {system}, {}: {reason}", tool.name());
                }
            }
        }
        text.push('\n');
    }
    text + "\nThe article measured 54 % fewer memory accesses and 37 % fewer L1 misses a message under Monoio than \
            under \
            Tokio on 24 cores, by perf on the cores of one kind; it doesn't say whether the kernel's are among them. The simulation has one worker and no kernel: it shows what \
            the runtimes' own structures touch, and nothing of what moves between cores.\n"
        + &reasons
}

/// Whether perf can count here, and why not.
fn counters() -> String {
    let output = Command::new("perf")
        .args(["stat", "-x,", "-e", EVENTS, "true"])
        .output();
    match output {
        Err(_) => "not available here, as perf is not installed".to_owned(),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if said.contains("<not supported>") {
                "not available here: perf says `<not supported>`".to_owned()
            } else if output.status.success() {
                "available here, and not read by this program".to_owned()
            } else {
                let reason = said.lines().next().unwrap_or_default();
                format!("not available here: {reason}")
            }
        }
    }
}
