//! Two services on one core: few messages of one, which should not notice the bulk of the other.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::cli::QuotasArgs;
use crate::proxy::Start;
use crate::sample::{Sample, Window};
use crate::spread::Spread;
use crate::system::{System, Tuning};
use crate::turn::Turn;
use crate::visit::Duty;
use crate::workload::Workload;
use crate::{docs, prepare, report, versions};

/// The document's section.
const SECTION: &str = "quotas";
/// Connections of the messages' service.
const MESSAGES: usize = 50;
/// Flows of the bulk service.
const BULK: usize = 8;
/// Lines of corelane's listener of bulk. HAProxy and nginx have no such thing.
const BULK_LINES: &str = "shares = 100\n";

/// One system in one round.
struct Turns {
    alone: Sample,
    beside: Sample,
}

/// Measures what `args` ask for and prints the table.
pub(crate) fn run(args: &QuotasArgs) -> anyhow::Result<()> {
    let systems = args.common.systems()?;
    versions::check(&systems)?;
    let corelane = prepare::corelane(args.common.binary.corelane.as_deref(), &systems)?;
    prepare::settle(&args.common.machine)?;
    let cpus = [args.common.machine.proxy_cpu];
    let message_lines = format!("shares = 1000\nlatency = \"{}\"\n", args.latency);
    // In the order of a mix's services.
    let listeners = [BULK_LINES, &message_lines];
    let turn = |bulk| Turn {
        workload: Workload::Mix {
            bulk,
            messages: MESSAGES,
        },
        timing: args.turns.timing(),
        start: Start {
            cpus: &cpus,
            corelane: corelane.as_deref(),
            prefix: &[],
            tuning: Tuning {
                listeners: &listeners,
                ..Tuning::default()
            },
            duty: Duty::Relay,
        },
        rate: None,
    };
    let (alone, beside) = (turn(0), turn(BULK));
    let (mut turns, mut failures) = (Vec::new(), Vec::new());
    for round in 0..args.turns.measured.rounds {
        for &system in &systems {
            let sample = |turn: &Turn<'_>| {
                let window = turn.of(system)?;
                Ok(Sample {
                    workload: turn.workload,
                    system,
                    round,
                    window,
                })
            };
            // Neighbours in time, so that their ratio is good.
            let both: anyhow::Result<_> =
                sample(&alone).and_then(|alone| Ok((alone, sample(&beside)?)));
            match both {
                Ok((alone, beside)) => turns.push(Turns { alone, beside }),
                Err(error) => failures.push(format!("{system}, round {}: {error:#}", round + 1)),
            }
        }
    }
    let mut text = report::head(&versions::describe(&systems));
    let _ = write!(text, "\n{}", table(&systems, args, &turns));
    text.push_str(&notes(&beside.direct()?, &turns)?);
    text.push_str(&report::failures(&failures));
    docs::publish(&args.common.machine, SECTION, &text)
}

fn table(systems: &[System], args: &QuotasArgs, turns: &[Turns]) -> String {
    let (rounds, latency) = (args.turns.measured.rounds, &args.latency);
    let mut text = format!(
        "### Quotas\n\nService A ({MESSAGES} connections, 64-byte messages) alone, and beside service B ({BULK} flows of \
         bulk) on the same core; corelane has 10 shares for A to 1 for B, and `latency = \"{latency}\"` for A. Latencies \
         in µs; medians (quartiles) of {rounds} interleaved rounds.\n\n\
         | system | A alone: p50 | p99 | A beside B: p50 | p99 | p99 beside to alone | B: GB/s | CPU s a GB | proxy on \
         its CPU | others on it |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for &system in systems {
        let spread = |figure: &dyn Fn(&Turns) -> f64| {
            let own = turns.iter().filter(|turns| turns.alone.system == system);
            Spread::of(own.map(figure))
        };
        let columns = [
            (spread(&|turns| turns.alone.latency_us(0)), 0),
            (spread(&|turns| turns.alone.latency_us(1)), 0),
            (spread(&|turns| turns.beside.latency_us(0)), 0),
            (spread(&|turns| turns.beside.latency_us(1)), 0),
            (
                spread(&|turns| turns.beside.latency_us(1) / turns.alone.latency_us(1)),
                1,
            ),
            (spread(&|turns| turns.beside.rate()), 2),
            (spread(&|turns| turns.beside.cost()), 2),
        ];
        let _ = write!(text, "| {system} |");
        for (figure, digits) in columns {
            let figure = figure.map_or("–".to_owned(), |figure| figure.text(digits));
            let _ = write!(text, " {figure} |");
        }
        let parts = [
            spread(&|turns| turns.beside.busy()),
            spread(&|turns| turns.beside.window.foreign_part()),
        ];
        for part in parts {
            let part = part.map_or("–".to_owned(), |part| {
                format!("{:.0} %", part.median * 100.0)
            });
            let _ = write!(text, " {part} |");
        }
        text.push('\n');
    }
    text
}

/// What the figures rest on.
fn notes(direct: &Window, turns: &[Turns]) -> anyhow::Result<String> {
    let latency = direct.latency.context("a mix has latencies")?;
    let [p50, p99, _] = latency.quantiles.map(|latency| latency.as_micros());
    let rate = latency.rate.unwrap_or(0.0);
    let priority = turns.iter().find_map(|turns| turns.beside.window.priority);
    Ok(format!(
        "\nA is an open loop of {rate:.0} messages/s in all, the same for every system, alone and beside B; latencies \
         count from the time at which a message was to be sent. Beside B but without a proxy they are {p50} and {p99} \
         µs. Where the proxy is on its CPU for less than all of the time, B is bounded by the load generator. {}",
        priority.map_or("", report::priority)
    ))
}
