//! Side-by-side comparison of corelane with its peers.
//!
//! Each *system* (a proxy) is started afresh on one CPU; this process is the load generator and the upstream
//! server, on another. The systems take turns (A B C A B C …), because a machine drifts by more than the
//! systems differ: only ratios between neighbours in time are worth reading. The figure that holds best is the
//! CPU time which the proxy's process spends on a unit of work.

mod admin;
mod article;
mod change;
mod cli;
mod counts;
mod cpu;
mod docs;
mod load;
mod memory;
mod named;
mod network;
mod outputs;
mod plots;
mod prepare;
mod proxy;
mod quotas;
mod report;
mod rounds;
mod sample;
mod scrape;
mod skew;
mod spread;
mod summary;
mod sys;
mod system;
mod targets;
mod turn;
mod venv;
mod versions;
mod visit;
mod workload;

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    match cli::Cli::parse().command {
        cli::Command::Run(args) => rounds::run(&args),
        cli::Command::Counts(args) => counts::run(&args),
        cli::Command::Article(args) => article::run(&args),
        cli::Command::Quotas(args) => quotas::run(&args),
        cli::Command::Skew(args) => skew::run(&args),
        cli::Command::Scrape(args) => scrape::run(&args),
        cli::Command::Change(args) => change::run(&args),
        cli::Command::Upgrade(args) => change::upgrade::run(&args),
        cli::Command::Echo(args) => Ok(peers::echo(args.echo, args.listen)?),
        cli::Command::Peer(args) => Ok(peers::run(args.relay, &args.services)?),
    }
}
