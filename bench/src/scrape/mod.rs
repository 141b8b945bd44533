//! What a scrape of many servers takes, and what it takes from the messages that pass meanwhile.

mod servers;
mod turn;

use std::fmt::Write as _;

use anyhow::ensure;

use self::turn::{EVERY, MESSAGES, SCRAPES, Turn};
use crate::cli::ScrapeArgs;
use crate::spread::Spread;
use crate::sys::Priority;
use crate::system::System;
use crate::{docs, prepare, report, versions};

/// The document's section.
const SECTION: &str = "scrape";

/// Measures what `args` ask for and prints the table.
pub(crate) fn run(args: &ScrapeArgs) -> anyhow::Result<()> {
    let systems = args.common.systems()?;
    for system in &systems {
        ensure!(
            matches!(system, System::Corelane(_) | System::Build { .. }),
            "{system} has no metrics of corelane's"
        );
    }
    let corelane = prepare::corelane(args.common.binary.corelane.as_deref(), &systems)?;
    prepare::settle(&args.common.machine)?;
    let (mut turns, mut failures) = (Vec::new(), Vec::new());
    for round in 0..args.turns.measured.rounds {
        for are_checked in [false, true] {
            for &system in &systems {
                match Turn::of(system, are_checked, corelane.as_deref(), args) {
                    Ok(turn) => turns.push(turn),
                    Err(error) => {
                        failures.push(format!("{system}, round {}: {error:#}", round + 1));
                    }
                }
            }
        }
    }
    let mut text = report::head(&versions::describe(&systems));
    let _ = write!(text, "\n{}", table(&systems, args, &turns));
    text.push_str(&notes(args, &turns));
    text.push_str(&report::failures(&failures));
    docs::publish(&args.common.machine, SECTION, &text)
}

fn table(systems: &[System], args: &ScrapeArgs, turns: &[Turn]) -> String {
    let mut text = format!(
        "### Scrape\n\nA scrape with {} servers configured, {SCRAPES} of them one after the other, in ms; and the latencies \
         of messages ({MESSAGES} connections, 64 bytes) in µs, without scrapes and with one each {} ms. Medians \
         (quartiles) of {} rounds.\n\n\
         | system | health checks | series | scrape: median | p95 | max | messages, not scraped: p50 | p99 | scraped: p50 | \
         p99 | p99 scraped to not | others on its CPU |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        args.servers,
        EVERY.as_millis(),
        args.turns.measured.rounds,
    );
    for are_checked in [false, true] {
        for &system in systems {
            let spread = |figure: &dyn Fn(&Turn) -> f64| {
                let own = turns
                    .iter()
                    .filter(|turn| turn.system == system && turn.are_checked == are_checked);
                Spread::of(own.map(figure))
            };
            let us = |latency: std::time::Duration| latency.as_secs_f64() * 1e6;
            let columns = [
                (spread(&|turn| turn.scrape_ms(0.5)), 1),
                (spread(&|turn| turn.scrape_ms(0.95)), 1),
                (spread(&|turn| turn.scrape_ms(1.0)), 1),
                (spread(&|turn| us(turn.alone[0])), 0),
                (spread(&|turn| us(turn.alone[1])), 0),
                (spread(&|turn| us(turn.scraped[0])), 0),
                (spread(&|turn| us(turn.scraped[1])), 0),
                (spread(&|turn| us(turn.scraped[1]) / us(turn.alone[1])), 1),
            ];
            let plain = |figure: Option<Spread>| {
                figure.map_or("–".to_owned(), |figure| format!("{:.0}", figure.median))
            };
            let checks = if are_checked { "yes" } else { "no" };
            let series = plain(spread(&|turn| turn.series as f64));
            let _ = write!(text, "| {system} | {checks} | {series} |");
            for (figure, digits) in columns {
                let figure = figure.map_or("–".to_owned(), |figure| figure.text(digits));
                let _ = write!(text, " {figure} |");
            }
            let foreign = plain(spread(&|turn| turn.foreign * 100.0));
            let _ = writeln!(text, " {foreign} % |");
        }
    }
    text
}

/// What the figures rest on.
fn notes(args: &ScrapeArgs, turns: &[Turn]) -> String {
    let mut text = format!(
        "\nEach corelane has one worker, pinned to CPU {}. The threads that answer scrapes and check servers are not pinned \
         and the former is nicer than the worker: they run on all CPUs that the process may use, which is this one \
         alone. So a scrape takes all that it needs from the worker's CPU. A scrape is a connection of its own, from \
         connect to the end of the answer. With health checks each server is connected to once in 2 s. The messages are an open loop: \
         latencies count from the time at which a message was to be sent.",
        args.common.machine.proxy_cpu
    );
    if turns.iter().any(|turn| turn.priority != Priority::RealTime) {
        text.push_str(
            " The messages' thread of the load generator has no real-time priority over the one that scrapes (no \
             privilege for SCHED_FIFO): latencies are partly its own.",
        );
    }
    text.push('\n');
    text
}
