//! A whole run: every system in turn, round after round, one workload after another.

use crate::cli::RunArgs;
use crate::outputs::Outputs;
use crate::proxy::Start;
use crate::sample::{Results, Sample, Window};
use crate::system::{System, Tuning};
use crate::turn::Turn;
use crate::visit::Duty;
use crate::workload::Workload;
use crate::{memory, prepare, report, versions};

/// How often a turn is tried that others disturb.
const TRIES_MAX: u32 = 4;
/// The open loop's rate as a part of what the first anchor does in a closed one.
const RATE_PART: f64 = 0.5;

/// Runs what `args` ask for and prints the tables.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let systems = args.common.systems()?;
    versions::check(&systems)?;
    let corelane = prepare::corelane(args.common.binary.corelane.as_deref(), &systems)?;
    prepare::settle(&args.common.machine)?;

    let head = report::head(&versions::describe(&systems));
    let turns =
        args.workloads.len() as u64 * u64::from(args.turns.measured.rounds) * systems.len() as u64;
    let mut outputs = Outputs::open(args, &head, turns)?;
    let start = Start {
        cpus: &[args.common.machine.proxy_cpu],
        corelane: corelane.as_deref(),
        prefix: &[],
        tuning: Tuning::default(),
        duty: Duty::Relay,
    };
    let mut all = Vec::new();
    for &workload in &args.workloads {
        let mut turn = Turn {
            workload,
            timing: args.turns.timing(),
            start,
            rate: None,
        };
        turn.rate = rate(args, &systems, &turn, &outputs)?;
        let results = measure(args, &systems, &turn, &mut outputs)?;
        outputs.markdown(&report::table(&results))?;
        all.push(results);
        outputs.document(&all)?;
    }
    outputs.markdown(&report::overview(&all))
}

/// All the rounds of one workload.
fn measure(
    args: &RunArgs,
    systems: &[System],
    turn: &Turn<'_>,
    outputs: &mut Outputs,
) -> anyhow::Result<Results> {
    let workload = turn.workload;
    outputs.progress(format!("{workload}, without a proxy"));
    let mut results = Results {
        workload,
        direct: direct(turn)?,
        samples: Vec::new(),
        failures: Vec::new(),
    };
    for round in 0..args.turns.measured.rounds {
        for &system in systems {
            outputs.progress(format!(
                "{workload}, round {} of {}, {system}",
                round + 1,
                args.turns.measured.rounds
            ));
            match undisturbed(turn, system, args.foreign_max) {
                Ok(window) => {
                    let mut sample = Sample {
                        workload,
                        system,
                        round,
                        window,
                    };
                    sample.leave_out(results.direct.as_ref());
                    outputs.csv(&sample.csv())?;
                    results.samples.push(sample);
                }
                // The others are still worth measuring.
                Err(error) => {
                    let failure = format!("{system}, round {}: {error:#}", round + 1);
                    results.failures.push(failure);
                }
            }
            outputs.advance();
        }
    }
    Ok(results)
}

/// The rate of the open loop that follows a ping-pong: the same for all systems, and one that each can keep up with.
fn rate(
    args: &RunArgs,
    systems: &[System],
    turn: &Turn<'_>,
    outputs: &Outputs,
) -> anyhow::Result<Option<f64>> {
    if !matches!(turn.workload, Workload::PingPong { .. }) {
        return Ok(None);
    }
    if args.rate.is_some() {
        return Ok(args.rate);
    }
    let anchor = systems.iter().find(|system| system.is_anchor());
    let Some(&system) = anchor.or(systems.first()) else {
        return Ok(None);
    };
    outputs.progress(format!("{}, the rate by {system}", turn.workload));
    let window = turn.of(system)?;
    let full = window.units as f64 / window.wall.as_secs_f64();
    Ok(Some((full * RATE_PART).max(1.0)))
}

/// What the load generator needs by itself, where that is to be left out or to be shown.
fn direct(turn: &Turn<'_>) -> anyhow::Result<Option<Window>> {
    match turn.workload {
        Workload::Idle { .. } => memory::await_time_waits(),
        Workload::PingPong { .. } | Workload::Mix { .. } => {}
        Workload::Bulk { .. }
        | Workload::Duplex { .. }
        | Workload::Connect { .. }
        | Workload::Visits(_) => return Ok(None),
    }
    turn.direct().map(Some)
}

/// One turn of one system, again where it was disturbed; the least disturbed counts.
fn undisturbed(turn: &Turn<'_>, system: System, foreign_max: u32) -> anyhow::Result<Window> {
    let mut best = turn.of(system)?;
    for _ in 1..TRIES_MAX {
        if best.foreign_part() * 100.0 <= f64::from(foreign_max) {
            break;
        }
        let next = turn.of(system)?;
        if next.foreign_part() < best.foreign_part() {
            best = next;
        }
    }
    Ok(best)
}
