//! `corelane compare`: one load under each scheduler, and which one to choose.
//!
//! Rounds are interleaved (A B C A B C), since a machine drifts by more than schedulers differ. Nothing of production
//! takes part: the listeners are on free ports of loopback and the servers are embedded echoes.

mod comparison;
mod figures;
mod found;
mod isolation;
mod measurement;
mod options;
mod record;
mod scrape;
mod screen;
mod verdict;

use std::net::SocketAddr;

use anyhow::Context;
use proxy_config::Config;
use proxy_console::outln;

use self::comparison::Comparison;
use self::found::Found;
pub use self::options::{BYTES_MAX, CONNECTIONS_MAX, HEAVY_MAX, Options};
use self::verdict::Pace;
use crate::host::Host;
use crate::machine::Machine;

/// Compares, and prints what came of it.
///
/// # Errors
/// When there is no live proxy to record, or there is no port, thread or descriptor left.
pub fn run(config: &Config, options: &Options, host: &dyn Host) -> anyhow::Result<()> {
    let comparison = Comparison::plan(config, options, host)?;
    let echoes: Vec<SocketAddr> = (0..comparison.workload.threads)
        .map(|_| host.start_echo())
        .collect::<Result<_, _>>()?;
    let config = isolation::isolate(config, &echoes);
    screen::heading(&comparison);
    let begin = Machine::sample();
    let (outcomes, offered) =
        measurement::run(&comparison, &config, host, |number, candidate, round| {
            screen::progress(number, comparison.rounds, candidate, round);
        })?;
    let others = Machine::sample().others_since(&begin);
    let pace = Pace {
        heavy: comparison.workload.heavy.count > 0,
        paced: comparison.is_paced(),
    };
    let verdict = verdict::choose(&outcomes, comparison.own, pace);
    let found = Found {
        verdict: verdict.context("no scheduler could run")?,
        outcomes,
        offered,
        others,
    };
    if options.json {
        outln!("{}", screen::json(&comparison, &found));
    } else {
        screen::summary(&comparison, &found);
    }
    Ok(())
}
