//! What the comparison prints. Progress goes to stderr, so that stdout is the result.

use std::path::Path;

use proxy_console::{errln, outln};
use serde_json::{Value, json};

use super::comparison::Comparison;
use super::figures::{Outcome, Round};
use super::found::Found;
use crate::candidate::Candidate;
use crate::machine::OTHERS_MIN;
use proxy_load::Flows;

/// Introduces it.
pub(super) fn heading(comparison: &Comparison) {
    let Comparison {
        cpus,
        workers,
        workload,
        rounds,
        ..
    } = comparison;
    let file = shown(&comparison.file);
    errln!("{file}: {workers} worker(s) on a machine of {cpus} CPUs");
    for note in &comparison.notes {
        errln!("  {note}");
    }
    errln!("load: {}", describe(&workload.light, "connections"));
    if workload.heavy.count > 0 {
        let place = if workload.heavy_on_one_core {
            ", which begin on one core where cores accept for themselves: the worst that chance does"
        } else {
            ""
        };
        errln!(
            "      {}{place}",
            describe(&workload.heavy, "heavy connections")
        );
    }
    errln!(
        "Each listener is on a free port of 127.0.0.1 without its limit of connections, and each server is replaced by the \
         embedded echo server: no server of the configuration gets any of this load, but this machine does, and a proxy \
         that runs on it will feel it."
    );
    for (candidate, reason) in &comparison.skipped {
        errln!("{candidate}: skipped: {reason}");
    }
    errln!(
        "{rounds} rounds of {} schedulers take about {:.0} s.\n",
        comparison.candidates.len(),
        comparison.duration().as_secs_f64().ceil()
    );
}

/// One scheduler was measured once more.
pub(super) fn progress(number: usize, rounds: usize, candidate: Candidate, round: &Round) {
    errln!(
        "round {number}/{rounds}  {candidate:<27} {:>8.0} requests/s  p99 {:.2} ms",
        round.requests_per_second,
        round.p99 * 1e3
    );
}

/// The table, and what to choose.
pub(super) fn summary(comparison: &Comparison, found: &Found) {
    let verdict = &found.verdict;
    let heavy = comparison.workload.heavy.count > 0;
    let cost = cost_name(comparison);
    outln!(
        "{:<29} {:>10} {:>9} {:>8} {:>8} {:>14} {:>6} {:>9}",
        "scheduler (* configured)",
        "requests/s",
        "MB/s",
        "p50 ms",
        "p99 ms",
        cost,
        "λ",
        "stranded"
    );
    for outcome in &found.outcomes {
        let own = if outcome.candidate == comparison.own {
            " *"
        } else {
            ""
        };
        let scale = if heavy { 1e6 } else { 1.0 };
        outln!(
            "{:<29} {:>10.0} {:>9.1} {:>8.2} {:>8.2} {:>11.2} µs {:>6.2} {:>8.0}%",
            format!("{}{own}", outcome.candidate.name),
            outcome.median(|round| round.requests_per_second),
            outcome.median(|round| round.bytes_per_second) / 1e6,
            outcome.median(|round| round.p50) * 1e3,
            outcome.median(|round| round.p99) * 1e3,
            outcome.cost(heavy) * scale * 1e6,
            outcome.median(|round| round.imbalance),
            outcome.median(|round| round.stranded) * 100.0,
        );
    }
    for (candidate, reason) in &comparison.skipped {
        outln!("{candidate:<29} skipped: {reason}");
    }
    outln!();
    for caveat in caveats(comparison, found) {
        outln!("{caveat}");
    }
    outln!(
        "\n{}",
        verdict.headline(comparison.own, found.outcomes.len())
    );
    for why in &verdict.why {
        outln!("  {why}");
    }
    if verdict.choose != comparison.own {
        outln!("\nin {}:\n{}", shown(&comparison.file), verdict.choose.toml);
    }
}

/// The same for machines. Times are in seconds.
pub(super) fn json(comparison: &Comparison, found: &Found) -> String {
    let verdict = &found.verdict;
    let heavy = comparison.workload.heavy.count > 0;
    let round = |round: &Round| {
        json!({
            "requests_per_second": round.requests_per_second,
            "bytes_per_second": round.bytes_per_second,
            "p50_seconds": round.p50,
            "p99_seconds": round.p99,
            "cpu_seconds_per_second": round.cpu,
            "imbalance": round.imbalance,
            "stranded": round.stranded,
            "lost": round.lost,
        })
    };
    let flows = |flows: &Flows| {
        json!({
            "connections": flows.count,
            "message_bytes": flows.bytes,
            "interval_seconds": flows.interval.map(|interval| interval.as_secs_f64()),
            "messages_per_connection": flows.messages,
        })
    };
    let cost = if heavy {
        "cpu_seconds_per_byte"
    } else {
        "cpu_seconds_per_request"
    };
    let scheduler = |outcome: &Outcome| {
        json!({
            "name": outcome.candidate.name,
            "median": {
                "requests_per_second": outcome.median(|round| round.requests_per_second),
                "bytes_per_second": outcome.median(|round| round.bytes_per_second),
                "p50_seconds": outcome.median(|round| round.p50),
                "p99_seconds": outcome.median(|round| round.p99),
                cost: outcome.cost(heavy),
                "imbalance": outcome.median(|round| round.imbalance),
                "stranded": outcome.median(|round| round.stranded),
            },
            "rounds": outcome.rounds.iter().map(round).collect::<Vec<_>>(),
        })
    };
    let skipped = comparison.skipped.iter();
    let skipped =
        skipped.map(|(candidate, reason)| json!({ "name": candidate.name, "reason": reason }));
    let result = json!({
        "file": shown(&comparison.file),
        "cpus": comparison.cpus,
        "workers": comparison.workers,
        "load_threads": comparison.client_threads(),
        "light": flows(&comparison.workload.light),
        "heavy": flows(&comparison.workload.heavy),
        "notes": comparison.notes,
        "latency_requests_per_second": found.offered,
        "configured": comparison.own.name,
        "schedulers": found.outcomes.iter().map(scheduler).collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<Value>>(),
        "others_cpu_ratio": found.others,
        "choose": verdict.choose.name,
        "tie": verdict.tie,
        "why": verdict.why,
        "caveats": caveats(comparison, found),
        "configuration": verdict.choose.toml,
    });
    format!("{result:#}")
}

/// What to bear in mind.
fn caveats(comparison: &Comparison, found: &Found) -> Vec<String> {
    let Comparison { cpus, workers, .. } = *comparison;
    let echoes = comparison.workload.threads;
    let threads = comparison.client_threads();
    let mut caveats = vec![
        "Medians of the rounds. λ is max/mean − 1 of the workers' utilization: 0 is even; stranded is max − mean."
            .to_owned(),
    ];
    if workers + threads + echoes > cpus {
        caveats.push(format!(
            "The {cpus} CPUs are shared by {workers} worker(s), {threads} thread(s) of clients and {echoes} of the echo \
             server: clients take CPU from the workers that they load, so requests/s and latencies are worse than with \
             clients elsewhere, and partly theirs. {} is the workers' own, and the figure to trust.",
            cost_name(comparison)
        ));
    }
    caveats.push(match found.offered {
        None => "Light connections send at a fixed rate, the same for every scheduler: fewer requests/s mean that one \
                 can't keep up. Latencies count from when a message was due."
            .to_owned(),
        Some(rate) => format!(
            "Requests/s and CPU are of clients that send the next message when the answer is there. Latencies are of the \
             same clients at {rate:.0} requests/s in all, half of what the slowest scheduler did, and count from when a \
             message was due."
        ),
    });
    if let Some(others) = found.others.filter(|&others| others >= OTHERS_MIN) {
        caveats.push(format!(
            "Other processes had {:.0} % of the machine's CPU meanwhile: differences mean less, and p99 means little. \
             Run it again when they are quiet, with more --rounds.",
            others * 100.0
        ));
    }
    let lost: u64 = found
        .outcomes
        .iter()
        .flat_map(|outcome| &outcome.rounds)
        .map(|round| round.lost)
        .sum();
    if lost > 0 {
        caveats.push(format!(
            "{lost} connections broke, so some rounds had less load: run it again before you trust it."
        ));
    }
    caveats
}

/// The column of CPU.
fn cost_name(comparison: &Comparison) -> &'static str {
    if comparison.workload.heavy.count > 0 {
        "CPU a MB"
    } else {
        "CPU a request"
    }
}

fn describe(flows: &Flows, what: &str) -> String {
    let pace = match flows.interval {
        Some(interval) => format!("one each {:.1} ms", interval.as_secs_f64() * 1e3),
        None => "the next one when the answer is there".to_owned(),
    };
    let life = match flows.messages {
        Some(messages) => format!(", {messages} a connection"),
        None => String::new(),
    };
    format!(
        "{} {what}, messages of {} bytes, {pace}{life}",
        flows.count, flows.bytes
    )
}

/// The name of a file for people.
fn shown(file: &Path) -> String {
    file.display().to_string()
}
