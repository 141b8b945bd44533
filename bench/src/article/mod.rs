//! The experiments of the article on thread-per-core runtimes from which corelane's idea comes, on this machine.
//!
//! The article's machine had 24 cores and hardware counters; what depends on them can't come out the same here, and
//! the text says where.

mod caches;
mod echo;
mod send;
mod uneven;

use std::time::Duration;

use crate::cli::ArticleArgs;
use crate::{docs, prepare, report, versions};

/// The document's section.
const SECTION: &str = "article";

/// Runs the experiments and prints the tables.
pub(crate) fn run(args: &ArticleArgs) -> anyhow::Result<()> {
    let machine = &args.machine;
    prepare::settle(machine)?;
    let cpus = [machine.proxy_cpu, machine.load_cpu];
    let mut text = report::head(&versions::describe(&echo::systems()));
    text.push_str(
        "- the article's machine: Intel Core i9-14900K (24 cores, 32 threads), Rust 1.93.0\n",
    );
    println!("{text}");
    let mut add = |part: String| {
        println!("{part}");
        text.push('\n');
        text.push_str(&part);
    };
    add(send::table(args.turns.rounds));
    let measured = Duration::from_secs_f64(args.turns.seconds);
    add(echo::tables(cpus, args.turns.rounds, measured)?);
    add(uneven::table(cpus, args.turns.rounds)?);
    add(caches::table(machine.proxy_cpu));
    match &machine.out {
        Some(dir) => docs::write(dir, SECTION, &text),
        None => Ok(()),
    }
}
