//! Measuring each scheduler in turn.

use std::time::Duration;

use anyhow::Context;
use proxy_config::Config;
use proxy_load::{Load, Report, Workload};
use proxy_state::Imbalance;

use super::comparison::{CALIBRATION, Comparison, SETTLE};
use super::figures::{Outcome, Round};
use crate::candidate::Candidate;
use crate::clocks::{Reading, pause};
use crate::host::{Host, Proxy};

/// How long workers may take to end their connections.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The open loop's rate, as a part of what the slowest scheduler did as a closed loop: all of them keep up with it, so
/// that latencies are not those of a queue that only grows.
const OFFERED_PART: f64 = 0.5;

/// Measures all rounds, and calls `on_round` after each scheduler's turn in one. Returns the rate of the open loop that gave the latencies, too, where the workload is none.
///
/// # Errors
/// When a scheduler or the clients can't run.
pub(super) fn run(
    comparison: &Comparison,
    config: &Config,
    host: &dyn Host,
    on_round: impl Fn(usize, Candidate, &Round),
) -> anyhow::Result<(Vec<Outcome>, Option<f64>)> {
    let mut outcomes: Vec<Outcome> = comparison
        .candidates
        .iter()
        .map(|&candidate| Outcome {
            candidate,
            rounds: Vec::new(),
        })
        .collect();
    let mut offered = None;
    if !comparison.is_paced() {
        let mut slowest = f64::INFINITY;
        for &candidate in &comparison.candidates {
            let done = calibrate(comparison, &candidate.chosen_in(config), host);
            slowest = slowest.min(done.with_context(|| unmeasured(candidate))?);
        }
        offered = Some((slowest * OFFERED_PART).max(1.0));
    }
    for number in 1..=comparison.rounds {
        for outcome in &mut outcomes {
            let candidate = outcome.candidate;
            let round = measure(comparison, &candidate.chosen_in(config), offered, host)
                .with_context(|| unmeasured(candidate))?;
            on_round(number, candidate, &round);
            outcome.rounds.push(round);
        }
    }
    Ok((outcomes, offered))
}

fn unmeasured(candidate: Candidate) -> String {
    format!("{candidate} can't be measured")
}

/// Requests a second of a closed loop.
fn calibrate(comparison: &Comparison, config: &Config, host: &dyn Host) -> anyhow::Result<f64> {
    let proxy = host.start(config, None)?;
    let half = CALIBRATION / 2;
    let (report, _) = observe(&proxy, &comparison.workload, half, half)?;
    (proxy.stop)(STOP_PATIENCE);
    Ok(report.requests_per_second)
}

/// One scheduler in one round.
fn measure(
    comparison: &Comparison,
    config: &Config,
    offered: Option<f64>,
    host: &dyn Host,
) -> anyhow::Result<Round> {
    let proxy = host.start(config, None)?;
    let workload = &comparison.workload;
    let (report, utilization) = observe(&proxy, workload, comparison.warm_up, comparison.each)?;
    let paced = match offered {
        Some(rate) => {
            let open_loop = comparison.open_loop();
            observe(&proxy, &paced(workload, rate), SETTLE, open_loop)?.0
        }
        None => report,
    };
    (proxy.stop)(STOP_PATIENCE);
    let imbalance = Imbalance::of(&utilization);
    let light_bytes = report.requests_per_second * workload.light.bytes as f64;
    Ok(Round {
        requests_per_second: report.requests_per_second,
        bytes_per_second: light_bytes + report.heavy_bytes_per_second,
        p50: paced.p50.as_secs_f64(),
        p99: paced.p99.as_secs_f64(),
        cpu: utilization.iter().sum(),
        imbalance: imbalance.ratio,
        stranded: imbalance.stranded,
        lost: report.lost + offered.map_or(0, |_| paced.lost),
    })
}

/// The workload as an open loop, with so many messages a second of all light flows.
fn paced(workload: &Workload, rate: f64) -> Workload {
    let mut paced = *workload;
    paced.light.interval = Some(Duration::from_secs_f64(workload.light.count as f64 / rate));
    paced
}

/// What the clients of a load see for a time, and how busy each worker is.
fn observe(
    proxy: &Proxy,
    workload: &Workload,
    warm_up: Duration,
    each: Duration,
) -> anyhow::Result<(Report, Vec<f64>)> {
    let load = Load::start(&proxy.addresses, workload, proxy.first_core())
        .context("the clients can't connect")?;
    pause(warm_up);
    load.begin();
    let begin = Reading::take(&proxy.threads);
    pause(each);
    let utilization = Reading::take(&proxy.threads).since(&begin);
    Ok((load.report(), utilization))
}

#[cfg(test)]
mod tests {
    use proxy_load::Flows;

    use super::*;

    #[test]
    fn an_open_loop_has_its_rate_over_all_flows() {
        let flows = Flows {
            count: 50,
            bytes: 1,
            interval: None,
            messages: None,
        };
        let workload = Workload {
            light: flows,
            heavy: Flows { count: 0, ..flows },
            heavy_on_one_core: false,
            threads: 1,
        };
        let paced = paced(&workload, 1000.0);
        assert_eq!(paced.light.interval, Some(Duration::from_millis(50)));
    }
}
