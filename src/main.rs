//! corelane: an L4 TCP proxy whose scheduler is a line of its configuration.

mod access_log;
mod admin;
mod assemble;
mod backlog;
mod check;
mod cli;
mod compare;
mod configuration;
mod cpus;
mod demo;
mod drain;
mod echo;
mod ephemeral;
mod health;
mod load;
mod observed;
mod proxy;
mod reload;
mod resolver;
mod run;
mod scheduler;
mod signals;
mod start_error;
mod state;
mod sys;
mod top;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::parse();
    cli::start_logging(cli.log);
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
            eprintln!("corelane: {error:#}");
            ExitCode::FAILURE
        }
    }
}
