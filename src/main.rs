//! corelane: an L4 TCP proxy whose scheduler is a line of its configuration.

// `println!` and `eprintln!` panic where nobody reads, and wait where a pipe is full: `outln!` and `errln!` don't.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod access_log;
mod assemble;
mod backlog;
mod check;
mod cli;
mod compare;
mod config_file;
mod configuration;
mod cpus;
mod deaths;
mod demo;
mod descriptors;
mod drain;
mod echo;
mod handover;
mod health;
mod load;
mod machine;
mod proxy;
mod reload;
mod resolver;
mod run;
mod scheduler;
mod signals;
mod sockets;
mod start_error;
mod surroundings;
mod top;

use std::process::ExitCode;

use proxy_console::{Console, errln};

fn main() -> ExitCode {
    let console = Console::start();
    let code = match cli::parse() {
        Ok(cli) => run_command(cli),
        Err(code) => code,
    };
    console.finish(code)
}

fn run_command(cli: cli::Cli) -> ExitCode {
    cli::start_logging(cli.log);
    deaths::hear_panics();
    let result = match cli.command {
        cli::Command::Run { file } => run::run(&file),
        cli::Command::Demo { seconds, listen } => {
            demo::run(std::time::Duration::from_secs(seconds), listen)
        }
        cli::Command::Compare(options) => compare::run(&options.into()),
        cli::Command::Top { url } => top::run(&url),
        cli::Command::Check { file } => return check::check(&file),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("corelane: {error:#}");
            ExitCode::FAILURE
        }
    }
}
