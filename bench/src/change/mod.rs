//! A change while connections run: what is lost, the longest pause, and how long it takes.
//!
//! Four kinds of connections go through a service of the proxy each: idle ones, busy ones, new ones and long transfers.
//! Their clients and servers have a thread a kind. A turn watches them for a while, has the proxy take a changed file, and
//! watches them for as long again.

mod arrivals;
mod arrived;
mod busy;
mod contestant;
mod cue;
mod faults;
mod idle;
mod left;
mod message;
mod pauses;
mod setting;
mod table;
mod transfers;
mod turn;
pub(crate) mod upgrade;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use anyhow::ensure;
use rustix::process::{Resource, getrlimit};

use self::contestant::Contestant;
use self::table::Row;
use crate::cli::ChangeArgs;
use crate::system::System;
use crate::{docs, prepare, report, versions};

/// The document's section.
const SECTION: &str = "change";
/// Descriptors for all but connections.
const FILES_SPARE: u64 = 300;

/// Kinds of connections, each with a service of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Idle,
    Busy,
    Arrivals,
    Transfers,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Idle, Self::Busy, Self::Arrivals, Self::Transfers];
}

/// Measures what `args` ask for and prints the table.
pub(crate) fn run(args: &ChangeArgs) -> anyhow::Result<()> {
    let contestants = Contestant::named(&args.contestants)?;
    let mut systems: Vec<System> = Vec::new();
    for system in contestants.iter().map(|one| one.system()) {
        if !systems.contains(&system) {
            systems.push(system);
        }
    }
    versions::check(&systems)?;
    let corelane = prepare::corelane(args.binary.corelane.as_deref(), &systems)?;
    prepare::settle(&args.machine)?;
    ensure_files(args.idle + args.busy + args.transfers)?;

    let mut rows: Vec<Row> = contestants.into_iter().map(Row::new).collect();
    let mut failures = Vec::new();
    for round in 0..args.rounds {
        for row in &mut rows {
            // What one refuses it refuses again.
            if row.not_taken.is_some() {
                continue;
            }
            match turn::of(row.contestant, corelane.as_deref(), args) {
                Ok(outcome) => row.add(outcome),
                Err(error) => {
                    failures.push(format!(
                        "{}, round {}: {error:#}",
                        row.contestant,
                        round + 1
                    ));
                }
            }
        }
    }
    let mut text = report::head(&versions::describe(&systems));
    let _ = write!(text, "\n{}", table::table(args, &rows));
    text.push_str(&table::notes(args, &rows));
    text.push_str(&report::failures(&failures));
    docs::publish(&args.machine, SECTION, &text)
}

/// Fails where the limit is too low for both ends of so many connections and of new ones, which the load generator has.
fn ensure_files(connections: u32) -> anyhow::Result<()> {
    let files = 2 * (u64::from(connections) + arrivals::UNDER_WAY_MAX as u64) + FILES_SPARE;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    ensure!(
        files <= limit,
        "{files} descriptors are needed and {limit} allowed: fewer connections, or a higher limit (ulimit -Hn)"
    );
    Ok(())
}
