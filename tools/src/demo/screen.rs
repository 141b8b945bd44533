//! What the demo prints.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::net::SocketAddr;

use super::outcome::Outcome;
use proxy_console::outln;
use proxy_load::Report;
use proxy_state::Imbalance;

/// Characters of a full bar.
const BAR_WIDTH: usize = 20;

/// Introduces a scheduler.
pub(crate) fn heading(name: &str, listener: SocketAddr, admin: SocketAddr, workers: usize) {
    outln!("{name}: {workers} workers, listening on {listener}, metrics at http://{admin}/metrics");
}

/// One line of bars. On a terminal it takes the place of the last one.
pub(crate) fn cores(utilization: &[f64], imbalance: &Imbalance, report: &Report) {
    let mut line = String::new();
    for (core, &busy) in utilization.iter().enumerate() {
        let full = (busy * BAR_WIDTH as f64).round() as usize;
        let _ = write!(
            line,
            " {core} {}{} {:3.0} % ",
            "█".repeat(full),
            "·".repeat(BAR_WIDTH - full),
            busy * 100.0,
        );
    }
    let _ = write!(
        line,
        " λ {:.2}   {:.0} light requests/s",
        imbalance.ratio, report.requests_per_second
    );
    let (before, after) = if std::io::stdout().is_terminal() {
        ("\r\x1b[K", "")
    } else {
        ("", "\n")
    };
    proxy_console::print(format_args!("{before}{line}{after}"));
}

/// The schedulers side by side.
pub(crate) fn summary(outcomes: &[Outcome]) {
    outln!("\n");
    outln!(
        "{:<20} {:>11} {:>10} {:>15} {:>10} {:>10} {:>12}",
        "scheduler",
        "imbalance λ",
        "stranded",
        "light req/s",
        "p50",
        "p99",
        "heavy MB/s"
    );
    for outcome in outcomes {
        let report = &outcome.report;
        outln!(
            "{:<20} {:>11.2} {:>9.0}% {:>15.0} {:>8.2}ms {:>8.2}ms {:>12.0}",
            outcome.name,
            outcome.imbalance.ratio,
            outcome.imbalance.stranded * 100.0,
            report.requests_per_second,
            report.p50.as_secs_f64() * 1e3,
            report.p99.as_secs_f64() * 1e3,
            report.heavy_bytes_per_second / 1e6,
        );
    }
    outln!(
        "\nλ is max/mean − 1 of the cores' utilization: 0 is even. Proxy, clients and the echo server share this \
         machine's CPUs, so compare the rows, not the figures with another machine's."
    );
}

/// Others use this machine.
pub(crate) fn busy(others: f64) {
    outln!(
        "This machine is busy: other processes have {:.0} % of its CPU now. What follows means little until they are quiet.\n",
        others * 100.0
    );
}

/// What the figures say.
pub(crate) fn conclusion(sentences: &[String]) {
    outln!();
    for sentence in sentences {
        outln!("{sentence}");
    }
}
