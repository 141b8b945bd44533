//! The echo matrix: one runtime after another as an echo server, and who is on how many cores.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use peers::Echo;

use crate::load::Timing;
use crate::proxy::Start;
use crate::sample::Sample;
use crate::spread::Spread;
use crate::summary::ratios;
use crate::system::{System, Tuning};
use crate::turn::Turn;
use crate::visit::Duty;
use crate::workload::Workload;

/// The article's load.
pub(super) const WORKLOAD: Workload = Workload::PingPong {
    connections: 100,
    bytes: 64,
};
/// Before a window.
const WARMUP: Duration = Duration::from_millis(300);
/// What the ratios are to.
const BASELINE: System = System::Echo(Echo::Tokio);

/// The servers compared.
pub(super) fn systems() -> Vec<System> {
    Echo::ALL.map(System::Echo).to_vec()
}

/// On the first of `cpus` alone, with the load on the second; and on both, where the load is in the way.
pub(super) fn tables(cpus: [usize; 2], rounds: u32, measured: Duration) -> anyhow::Result<String> {
    let timing = Timing {
        warmup: WARMUP,
        measured,
    };
    let one = table(&cpus[..1], rounds, timing)?;
    let both = table(&cpus, rounds, timing)?;
    Ok(format!(
        "### Echo servers\n\n100 connections, 64 bytes, the load generator on a CPU of its own; {rounds} interleaved \
         rounds.\n\n#### One worker, on one CPU\n\n{one}\n\
         #### A worker on each of two CPUs, of which the load generator has one as well\n\n{both}\n\
         The article's 5.7 is of a machine of 24 cores, whose workers steal from one another, wake one another and share one driver. With \
         one worker there is nobody to steal from or to wake, so that the first table shows what the runtimes cost \
         by themselves; with two there is one thief. The load generator, which is one thread here, bounds the \
         throughput of what is cheap; the CPU a round trip is not bounded by it. The article's servers copy each \
         message into a new buffer under Monoio, which ours keep from doing.\n"
    ))
}

fn table(cpus: &[usize], rounds: u32, timing: Timing) -> anyhow::Result<String> {
    let turn = Turn {
        workload: WORKLOAD,
        timing,
        start: Start {
            cpus,
            corelane: None,
            prefix: &[],
            tuning: Tuning::default(),
            duty: Duty::Relay,
        },
        rate: None,
    };
    let mut samples = Vec::new();
    for round in 0..rounds {
        for system in systems() {
            let window = turn.of(system).with_context(|| system.to_string())?;
            samples.push(Sample {
                workload: WORKLOAD,
                system,
                round,
                window,
            });
        }
    }
    let mut text = "| server | CPU µs a round trip | to Tokio's | round trips/s | to Tokio's | the article's |\n\
                    |---|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for system in systems() {
        let own = || samples.iter().filter(|sample| sample.system == system);
        let figures = (
            Spread::of(own().map(Sample::cost)),
            ratios(&samples, system, BASELINE, Sample::cost),
            Spread::of(own().map(Sample::rate)),
            ratios(&samples, system, BASELINE, Sample::rate),
        );
        if let (Some(cost), Some(cost_ratio), Some(rate), Some(rate_ratio)) = figures {
            let _ = writeln!(
                text,
                "| {system} | {} | {} | {:.0} | {} | {} |",
                cost.text(2),
                cost_ratio.text(2),
                rate.median,
                rate_ratio.text(2),
                article(system)
            );
        }
    }
    Ok(text)
}

/// Messages a second in the article, and their ratio to Tokio's.
fn article(system: System) -> &'static str {
    match system {
        System::Echo(Echo::Tokio) => "284K, 1",
        System::Echo(Echo::TokioReusePort) => "288K, 1.0",
        System::Echo(Echo::MonoioEpoll) => "1.65M, 5.8",
        System::Echo(Echo::MonoioUring) => "1.63M, 5.7",
        _ => "–",
    }
}
