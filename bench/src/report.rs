//! The Markdown tables.

use std::fmt::Write as _;
use std::path::Path;

use crate::sample::{Latency, Results};
use crate::summary::{Summary, summarise};
use crate::sys::Priority;
use crate::system::System;
use crate::targets;
use crate::workload::Workload;

/// What stands above the tables: `versions`, and the command as it was given.
pub(crate) fn head(versions: &str) -> String {
    format!(
        "{versions}\n- command: `bench {}`\n",
        command(std::env::args().skip(1))
    )
}

/// The words of a command; of a path only the name, since the rest is this machine's.
fn command(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words
        .map(|word| match Path::new(&word).file_name() {
            Some(name) if word.starts_with('/') => name.to_string_lossy().into_owned(),
            _ => word,
        })
        .collect();
    words.join(" ")
}

/// The summary over all workloads: the ratio of costs to the best anchor's, and the targets.
pub(crate) fn overview(all: &[Results]) -> String {
    let mut systems: Vec<System> = Vec::new();
    for sample in all.iter().flat_map(|results| &results.samples) {
        if !systems.contains(&sample.system) {
            systems.push(sample.system);
        }
    }
    let summaries: Vec<_> = all
        .iter()
        .map(|results| summarise(&results.samples))
        .collect();
    let mut text = "### Summary\n\nCost (CPU a unit of work; user memory for idle connections) as the median ratio to \
                    the best of HAProxy, nginx and Envoy in the same round; less is better.\n\n| system |"
        .to_owned();
    for results in all {
        let _ = write!(text, " {} |", results.workload);
    }
    let _ = writeln!(text, "\n|---|{}", "--:|".repeat(all.len()));
    for system in systems {
        let _ = write!(text, "| {system} |");
        for (_, summaries) in &summaries {
            let summary = summaries.iter().find(|summary| summary.system == system);
            match summary.and_then(|summary| summary.ratio) {
                Some(ratio) => {
                    let _ = write!(text, " {:.2} |", ratio.median);
                }
                None => text.push_str(" – |"),
            }
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{}", targets::table(all));
    text
}

/// One workload's table, and what went wrong under it.
pub(crate) fn table(results: &Results) -> String {
    let Results {
        workload,
        samples,
        failures,
        ..
    } = results;
    let mut text = String::new();
    let (baseline, summaries) = summarise(samples);
    let baseline = baseline.map_or_else(|| "no baseline".to_owned(), |system| system.to_string());
    let rounds = samples
        .iter()
        .map(|sample| sample.round)
        .max()
        .map_or(0, |last| last + 1);
    let ((cost, _), (rate, _)) = (workload.cost_unit(), workload.rate_unit());
    let is_compared = summaries.iter().any(|summary| summary.to_plain.is_some());
    let (plain_head, plain_rule) = if is_compared {
        (" to relaying |", "--:|")
    } else {
        ("", "")
    };
    let (head, rule) = if workload.has_latency() {
        (" p50 µs | p99 µs | p99.9 µs |", "--:|--:|--:|")
    } else {
        ("", "")
    };
    let _ = write!(
        text,
        "### {workload}\n\nMedians (quartiles) of {rounds} rounds; ratios are to {baseline} in the same round.\n\n\
         | system | {cost} | ratio |{plain_head} {rate} |{head} proxy on its CPU | others on it |\n\
         |---|--:|--:|{plain_rule}--:|{rule}--:|--:|\n"
    );
    for summary in &summaries {
        let Summary {
            system,
            cost,
            rate,
            latency_us,
            busy,
            foreign,
            to_plain,
            ..
        } = summary;
        let to_plain = match to_plain {
            Some(ratio) => format!(" {} |", ratio.text(2)),
            None if is_compared => " – |".to_owned(),
            None => String::new(),
        };
        let ratio = summary
            .ratio
            .map_or_else(String::new, |ratio| ratio.text(2));
        let _ = write!(
            text,
            "| {system} | {} | {ratio} |{to_plain} {:.*} |",
            cost.text(digits(cost.median)),
            digits(rate.median),
            rate.median
        );
        if workload.has_latency() {
            for latency in latency_us {
                let _ = write!(text, " {:.0} |", latency.median);
            }
        }
        let _ = writeln!(
            text,
            " {:.*} % | {:.0} % |",
            // An idle proxy is told from one that wakes now and then.
            if busy.median < 0.01 { 3 } else { 0 },
            busy.median * 100.0,
            foreign.median * 100.0
        );
    }
    notes(&mut text, results);
    text.push_str(&self::failures(failures));
    text
}

/// The turns that failed, and why; nothing when none did.
pub(crate) fn failures(failures: &[String]) -> String {
    if failures.is_empty() {
        return String::new();
    }
    format!("\nTurns that failed:\n\n- {}\n", failures.join("\n- "))
}

/// How the figures came about, under the table.
fn notes(text: &mut String, results: &Results) {
    let direct = results.direct.as_ref();
    if let Some(footprint) = direct.and_then(|window| window.footprint) {
        let _ = writeln!(
            text,
            "\nUser memory is RssAnon and RssShmem of the proxy's processes, less what they had before the \
             connections. Kernel memory is the growth of the whole machine's Slab, PageTables, Percpu and TCP \
             buffers, less that of as many connections without a proxy ({:.0} bytes each).",
            footprint.kernel
        );
    }
    if let Workload::Visits(visit) = results.workload {
        let _ = writeln!(text, "\n{}", visit.note());
    }
    let windows = || results.samples.iter().map(|sample| &sample.window);
    match windows().find_map(|window| window.latency) {
        Some(Latency {
            rate: Some(rate), ..
        }) => {
            let _ = write!(
                text,
                "\nLatencies are of an open loop of {rate:.0} messages/s in all, counted from the time at which a \
                 message was to be sent."
            );
            if let Some(Latency { quantiles, .. }) = direct.and_then(|window| window.latency) {
                let [p50, p99, p999] = quantiles.map(|latency| latency.as_secs_f64() * 1e6);
                let _ = write!(
                    text,
                    " Without a proxy they are {p50:.0}, {p99:.0} and {p999:.0} µs."
                );
            }
            text.push('\n');
        }
        Some(Latency { rate: None, .. }) => text.push_str(
            "\nLatencies are of a closed loop: what arrives while it waits is not counted.\n",
        ),
        None => {}
    }
    if let Some(priority) = windows().find_map(|window| window.priority) {
        text.push_str(self::priority(priority));
    }
}

/// What the load generator's own threads have to do with the latencies.
pub(crate) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::RealTime => {
            "The messages' thread of the load generator has real-time priority over the bulk load's, which goes after all \
             others of its CPU (`SCHED_IDLE`).\n"
        }
        Priority::Nice => {
            "The bulk load goes after all others of its CPU (`SCHED_IDLE`); the messages' thread of the load generator is \
             nicer to itself, and has no real-time priority (no privilege for it).\n"
        }
        Priority::Equal => {
            "The bulk load goes after all others of its CPU (`SCHED_IDLE`); the messages' thread of the load generator has \
             no real-time priority (no privilege for it).\n"
        }
    }
}

/// Digits after the point that still say something.
fn digits(figure: f64) -> usize {
    if figure.abs() < 100.0 { 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_no_directory_of_the_machine() {
        let words = [
            "run",
            "--corelane",
            "/somewhere/else/corelane",
            "-w",
            "bulk",
        ];
        let text = command(words.map(str::to_owned).into_iter());
        assert_eq!(text, "run --corelane corelane -w bulk");
    }
}
