//! Upgrades while connections run: what is lost, refused or stranded, and the longest pauses.
//!
//! The same clients as of a change: idle connections, long transfers, and new connections. One process after the other takes
//! over from the one before, as operators of each proxy have it done.

mod contestant;
mod lineage;
mod setting;
mod table;
mod turn;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::contestant::Contestant;
use self::table::Row;
use crate::cli::UpgradeArgs;
use crate::system::System;
use crate::{docs, prepare, report, versions};

/// The document's section.
const SECTION: &str = "upgrade";

/// Measures what `args` ask for and prints the table.
pub(crate) fn run(args: &UpgradeArgs) -> anyhow::Result<()> {
    let contestants = Contestant::named(&args.contestants)?;
    let mut rows: Vec<Row> = contestants.into_iter().map(Row::new).collect();
    let mut systems: Vec<System> = Vec::new();
    for row in &mut rows {
        let system = row.contestant.system();
        match versions::check(&[system]) {
            Ok(()) if systems.contains(&system) => {}
            Ok(()) => systems.push(system),
            Err(error) => row.skipped = Some(one_line(&error)),
        }
    }
    let corelane = prepare::corelane(args.binary.corelane.as_deref(), &systems)?;
    prepare::settle(&args.machine)?;
    super::ensure_files(args.connections + args.transfers)?;
    // Another file, so that it is seen which program runs.
    let folder = tempfile::tempdir()?;
    let corelane =
        corelane.map(|new| before(args, &new, folder.path()).map(|before| (new, before)));
    let corelane = corelane.transpose()?;
    let binaries = corelane
        .as_ref()
        .map(|(new, before)| [new.as_path(), before.as_path()]);

    let mut failures = Vec::new();
    for round in 0..args.rounds {
        for row in rows.iter_mut().filter(|row| row.skipped.is_none()) {
            match turn::of(row.contestant, binaries, args) {
                Ok(figures) => row.turns.push(figures),
                Err(error) => failures.push(format!(
                    "{}, round {}: {error:#}",
                    row.contestant,
                    round + 1
                )),
            }
        }
    }
    let mut text = report::head(&versions::describe(&systems));
    let _ = write!(text, "\n{}", table::table(args, &rows));
    text.push_str(&table::notes(&rows));
    text.push_str(&report::failures(&failures));
    docs::publish(&args.machine, SECTION, &text)
}

/// The program of before: the one that is named, or a copy.
fn before(args: &UpgradeArgs, new: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    if let Some(before) = &args.before {
        return Ok(before.clone());
    }
    let path = folder.join("corelane-before");
    std::fs::copy(new, &path).with_context(|| format!("copying {}", new.display()))?;
    Ok(path)
}

/// An error, fit for a cell of a table.
fn one_line(error: &anyhow::Error) -> String {
    let words = format!("{error:#}");
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").replace('|', "/")
}
