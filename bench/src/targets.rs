//! What corelane is to reach against its peers, and whether it did.

use std::fmt::Write as _;

use crate::sample::{Results, Sample};
use crate::spread::Spread;
use crate::summary::{best, ratios};
use crate::system::{Scheduler, System};
use crate::visit::Visit;
use crate::workload::Workload;

/// Those of corelane, each a system.
const SCHEDULERS: [Scheduler; 3] = [
    Scheduler::Glommio,
    Scheduler::WorkStealing,
    Scheduler::PerCore,
];

/// A figure of corelane's that is to be at most so much of a peer's.
struct Target {
    what: &'static str,
    limit: f64,
    figure: fn(&Sample) -> f64,
    /// Whose figure it is a ratio to: the best of these.
    peers: fn(System) -> bool,
}

/// The targets and how far they were reached, as a Markdown table; nothing where no workload has one.
pub(crate) fn table(results: &[Results]) -> String {
    let mut rows = String::new();
    for results in results {
        for scheduler in SCHEDULERS {
            let system = System::Corelane(scheduler);
            let mut compared = Vec::new();
            for target in targets(results.workload, scheduler) {
                let Some(peer) = best(&results.samples, target.peers, target.figure) else {
                    continue;
                };
                // The best of all may be the best of those that do the same.
                if compared.contains(&peer) {
                    continue;
                }
                compared.push(peer);
                let Some(ratio) = ratios(&results.samples, system, peer, target.figure) else {
                    continue;
                };
                let _ = writeln!(
                    rows,
                    "| {} | {system} | {} ≤ {:.2} of {peer} | {} | {} |",
                    results.workload,
                    target.what,
                    target.limit,
                    ratio.text(2),
                    verdict(ratio, target.limit)
                );
            }
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "### Targets\n\nMedian ratios (quartiles) to the best peer in the same round.\n\n\
         | workload | system | target | measured | |\n|---|---|---|--:|---|\n{rows}"
    )
}

/// What `scheduler` is to reach under `workload`.
fn targets(workload: Workload, scheduler: Scheduler) -> Vec<Target> {
    let mut targets: Vec<Target> = target(workload, scheduler).into_iter().collect();
    if let Workload::Visits(Visit::Sni { .. }) = workload {
        targets.extend(target(workload, scheduler).map(|target| Target {
            peers: keeps_half_closed,
            ..target
        }));
    }
    targets
}

/// Whether it is a peer that forwards an end and keeps the other direction, as corelane does. nginx closes both unless it is told.
fn keeps_half_closed(system: System) -> bool {
    system.is_anchor() && !matches!(system, System::Nginx { .. } | System::NginxCurrent { .. })
}

/// What it is to reach against every anchor.
fn target(workload: Workload, scheduler: Scheduler) -> Option<Target> {
    let cpu = |limit| Target {
        what: "CPU",
        limit,
        figure: Sample::cost,
        peers: System::is_anchor,
    };
    let is_haproxy = |system| matches!(system, System::Haproxy { .. });
    Some(match workload {
        Workload::PingPong { connections: 1, .. } => cpu(1.00),
        Workload::PingPong { connections, .. } if connections >= 100 => {
            cpu(if scheduler == Scheduler::Glommio {
                0.90
            } else {
                1.00
            })
        }
        Workload::PingPong { .. } => return None,
        Workload::Bulk { .. } | Workload::Duplex { .. } => cpu(0.95),
        Workload::Connect { .. } => cpu(0.95),
        Workload::Idle { .. } => Target {
            what: "user memory",
            limit: 1.0,
            figure: Sample::cost,
            peers: is_haproxy,
        },
        Workload::Visits(Visit::Sni { .. }) => cpu(1.00),
        Workload::Visits(Visit::Denied { .. }) => Target {
            peers: is_haproxy,
            ..cpu(1.00)
        },
        Workload::Visits(_) => return None,
        Workload::Mix { .. } => Target {
            what: "p99",
            limit: 0.7,
            figure: |sample| sample.latency_us(1),
            peers: is_haproxy,
        },
    })
}

fn verdict(ratio: Spread, limit: f64) -> String {
    if ratio.median <= limit {
        "met".to_owned()
    } else {
        format!("missed by {:.0} %", (ratio.median / limit - 1.0) * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_says_by_how_much() {
        let ratio = |median| Spread {
            median,
            low: 0.1,
            high: 2.0,
        };
        assert_eq!(verdict(ratio(0.9), 0.9), "met");
        assert_eq!(verdict(ratio(0.99), 0.9), "missed by 10 %");
    }

    #[test]
    fn only_glommio_is_asked_to_be_cheaper_at_many_connections() {
        let workload = "pingpong:1000".parse().unwrap();
        let limit = |scheduler| target(workload, scheduler).unwrap().limit;
        assert_eq!(limit(Scheduler::Glommio), 0.9);
        assert_eq!(limit(Scheduler::PerCore), 1.0);
        assert!(target("pingpong:8".parse().unwrap(), Scheduler::Glommio).is_none());
    }
}
