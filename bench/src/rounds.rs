//! A whole run: every system in turn, round after round, one workload after another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cli::RunArgs;
use crate::load::{self, Clocks, Timing};
use crate::outputs::Outputs;
use crate::proxy::{Proxy, Start, free_port};
use crate::sample::Sample;
use crate::system::System;
use crate::workload::Workload;
use crate::{cpu, report, versions};

/// How often a turn is tried that others disturb.
const TRIES_MAX: u32 = 4;

/// Runs what `args` ask for and prints the tables.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let systems = args.systems()?;
    versions::check(&systems)?;
    let corelane = corelane(args, &systems)?;
    settle(args)?;

    let command: Vec<String> = std::env::args().skip(1).collect();
    let mut outputs = Outputs::open(args)?;
    outputs.markdown(&report::head(
        &command.join(" "),
        &versions::describe(&systems),
    ))?;
    for &workload in &args.workloads {
        let mut samples = Vec::new();
        let mut failures = Vec::new();
        for round in 0..args.rounds {
            for &system in &systems {
                outputs.progress(&format!(
                    "{workload}, round {} of {}, {system}",
                    round + 1,
                    args.rounds
                ));
                match undisturbed(args, workload, system, round, corelane.as_ref()) {
                    Ok(sample) => {
                        outputs.csv(&sample.csv())?;
                        samples.push(sample);
                    }
                    // The others are still worth measuring.
                    Err(error) => {
                        failures.push(format!("{system}, round {}: {error:#}", round + 1))
                    }
                }
            }
        }
        outputs.markdown(&report::table(workload, &samples, &failures))?;
    }
    Ok(())
}

/// One turn of one system, again where it was disturbed; the least disturbed counts.
fn undisturbed(
    args: &RunArgs,
    workload: Workload,
    system: System,
    round: u32,
    corelane: Option<&PathBuf>,
) -> anyhow::Result<Sample> {
    let mut best = measure(args, workload, system, round, corelane)?;
    for _ in 1..TRIES_MAX {
        if best.foreign() * 100.0 <= f64::from(args.foreign_max) {
            break;
        }
        let next = measure(args, workload, system, round, corelane)?;
        if next.foreign() < best.foreign() {
            best = next;
        }
    }
    Ok(best)
}

/// One turn of one system.
fn measure(
    args: &RunArgs,
    workload: Workload,
    system: System,
    round: u32,
    corelane: Option<&PathBuf>,
) -> anyhow::Result<Sample> {
    // A port of its own: connections of the turn before, in TIME_WAIT, are in nobody's way.
    let upstream = free_port()?;
    let address: SocketAddr = upstream.local_addr()?;
    let start = Start {
        cpu: args.proxy_cpu,
        corelane: corelane.map(PathBuf::as_path),
        prefix: &[],
    };
    let proxy = Proxy::start(system, &[address], &start)?;
    let clocks = || {
        Ok(Clocks {
            proxy: proxy.cpu_time()?,
            busy: cpu::busy(args.proxy_cpu),
        })
    };
    let timing = Timing {
        warmup: Duration::from_secs_f64(args.warmup),
        measured: Duration::from_secs_f64(args.seconds),
    };
    let window = load::run(workload, proxy.listens[0], &upstream, timing, clocks)?;
    Ok(Sample {
        workload,
        system,
        round,
        window,
    })
}

/// Puts this process where and how it stays.
fn settle(args: &RunArgs) -> anyhow::Result<()> {
    ensure!(
        args.proxy_cpu != args.load_cpu,
        "proxy and load need a CPU each"
    );
    if let Some(nice) = args.nice {
        setpriority_process(None, nice).context("setting the niceness")?;
    }
    let mut cpus = CpuSet::new();
    cpus.set(args.load_cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("moving to CPU {}", args.load_cpu))
}

/// The corelane binary, built where none is given.
fn corelane(args: &RunArgs, systems: &[System]) -> anyhow::Result<Option<PathBuf>> {
    if !systems
        .iter()
        .any(|system| matches!(system, System::Corelane(_)))
    {
        return Ok(None);
    }
    if let Some(path) = &args.corelane {
        return Ok(Some(path.clone()));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "-p", "corelane"])
        .status()?;
    ensure!(status.success(), "corelane doesn't build");
    // Cargo puts the workspace's binaries beside this one.
    Ok(Some(std::env::current_exe()?.with_file_name("corelane")))
}
