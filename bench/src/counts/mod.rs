//! Figures that a busy machine leaves alone: system calls and user-space instructions for each unit of work.
//!
//! A system runs twice under a tool that counts, with so many units and with twice as many; the difference over the
//! units between leaves starting and connecting out.

mod tool;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use anyhow::{Context as _, ensure};

pub(crate) use self::tool::Tool;
use crate::cli::CountsArgs;
use crate::load::{self, Load, Timing};
use crate::proxy::{Proxy, Start, free_port};
use crate::system::{System, Tuning};
use crate::visit::Duty;
use crate::workload::Workload;
use crate::{docs, prepare, report, versions};

/// The document's section.
const SECTION: &str = "counts";

/// What is counted, a column each.
const TOOLS: [Tool; 2] = [Tool::Strace, Tool::Callgrind];

/// A failure belongs to a system under a tool: with the next workload it would only cost the same time again.
type Failures = HashMap<(System, Tool), String>;

/// Counts what `args` ask for and prints the tables.
pub(crate) fn run(args: &CountsArgs) -> anyhow::Result<()> {
    let systems = args.common.systems()?;
    for workload in &args.workloads {
        ensure!(
            workload.counted().is_some(),
            "{workload} has no units that could be counted"
        );
    }
    versions::check(&systems)?;
    let corelane = prepare::corelane(args.common.binary.corelane.as_deref(), &systems)?;
    prepare::settle(&args.common.machine)?;
    let mut failures = Failures::new();
    for tool in TOOLS {
        if let Some(reason) = tool.missing() {
            failures.extend(
                systems
                    .iter()
                    .map(|&system| ((system, tool), reason.clone())),
            );
        }
    }

    let mut text = report::head(&versions::describe(&systems));
    println!("{text}");
    for &workload in &args.workloads {
        let start = Start {
            cpus: &[args.common.machine.proxy_cpu],
            corelane: corelane.as_deref(),
            prefix: &[],
            tuning: Tuning::default(),
            duty: Duty::Relay,
        };
        let table = table(workload, &systems, start, &mut failures);
        println!("{table}");
        let _ = write!(text, "\n{table}");
    }
    let notes = notes(&systems, &failures);
    println!("{notes}");
    let _ = write!(text, "\n{notes}");
    match &args.common.machine.out {
        Some(dir) => docs::write(dir, SECTION, &text),
        None => Ok(()),
    }
}

/// One workload's table.
fn table(
    workload: Workload,
    systems: &[System],
    start: Start<'_>,
    failures: &mut Failures,
) -> String {
    let unit = workload.counted().map_or("", |counted| counted.name);
    let mut text = format!(
        "### {workload}\n\n| system | system calls a {unit} | instructions a {unit} |\n|---|--:|--:|\n"
    );
    for &system in systems {
        let _ = write!(text, "| {system} |");
        for tool in TOOLS {
            let figure = match failures.entry((system, tool)) {
                Entry::Occupied(_) => None,
                Entry::Vacant(failure) => count(tool, workload, system, start)
                    .map_err(|error| failure.insert(format!("{error:#}")))
                    .ok(),
            };
            let figure = figure.map_or("–".to_owned(), |figure| {
                format!("{figure:.*}", tool.digits())
            });
            let _ = write!(text, " {figure} |");
        }
        text.push('\n');
    }
    text
}

/// How the figures came about, and why some are missing.
fn notes(systems: &[System], failures: &Failures) -> String {
    let mut text = "System calls by `strace -f -c`, instructions in user space by `valgrind --tool=callgrind`: what \
                    2 n units took more than n units, over n. A message goes one way: a round trip has two. Both tools \
                    slow the proxy down, so that more messages may be ready at a time than otherwise.\n"
        .to_owned();
    for system in systems {
        for tool in TOOLS {
            if let Some(reason) = failures.get(&(*system, tool)) {
                // A program's last words may have many lines.
                let reason = reason.lines().next().unwrap_or_default();
                let _ = writeln!(text, "- {system}, not under {}: {reason}", tool.name());
            }
        }
    }
    text
}

/// What one unit takes.
pub(crate) fn count(
    tool: Tool,
    workload: Workload,
    system: System,
    start: Start<'_>,
) -> anyhow::Result<f64> {
    let counted = workload.counted().context("a workload without units")?;
    let once = |units| total(tool, workload, system, start, units);
    let (short, long) = (once(counted.units)?, once(2 * counted.units)?);
    ensure!(
        long.count > short.count,
        "{} of {} units and {} of {}: something else was counted",
        short.count,
        short.units,
        long.count,
        long.units
    );
    let units = (long.units as f64 - short.units as f64) / counted.each;
    Ok((long.count as f64 - short.count as f64) / units)
}

/// What a whole life of a proxy took, and the units that it passed.
struct Total {
    count: u64,
    units: u64,
}

fn total(
    tool: Tool,
    workload: Workload,
    system: System,
    start: Start<'_>,
    units: u64,
) -> anyhow::Result<Total> {
    let dir = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let prefix = tool.prefix(dir.path());
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    let upstreams = [free_port()?];
    let start = Start {
        prefix: &prefix,
        ..start
    };
    let proxy = Proxy::start(system, &[upstreams[0].local_addr()?], &start)?;
    let load = Load {
        workload,
        targets: &proxy.listens,
        upstreams: &upstreams,
        timing: Timing::default(),
        rate: None,
    };
    let units = load::run_units(load, units)?;
    // The tool writes when the proxy ends.
    drop(proxy);
    let count = tool.total(dir.path())?;
    Ok(Total { count, units })
}
