//! corelane: an L4 TCP proxy whose scheduler is a line of its configuration.

// `println!` and `eprintln!` panic where nobody reads, and wait where a pipe is full: `outln!` and `errln!` don't.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod access_log;
mod admin_door;
mod aside;
mod assemble;
mod check;
mod cli;
mod client;
mod closings;
mod command_socket;
mod completion;
mod config_file;
mod control;
mod convert;
mod cpus;
mod ctl;
mod deaths;
mod descriptors;
mod discovery;
mod doctor;
mod downs;
mod drain;
mod echo;
mod explain;
mod handover;
mod health;
mod host;
mod init;
mod lists;
mod logging;
mod man;
mod notify;
mod pairs;
mod privileges;
mod proxy;
mod pulses;
mod reload;
mod requests;
mod restarts;
mod retiring;
mod run;
mod scheduler;
mod signals;
mod socket_options;
mod sockets;
mod start_error;
mod surroundings;
mod switch;
mod upgrade;
mod watchdog;
mod workers;

use std::process::ExitCode;
use std::time::Duration;

use proxy_admin::commands::Wish;
use proxy_console::{Console, errln, outln};
use proxy_tools::{compare, demo, top};

use self::config_file::Given;
use self::host::InProcess;

fn main() -> ExitCode {
    let console = Console::start();
    let code = match cli::parse() {
        Ok(cli) => run_command(cli),
        Err(code) => code,
    };
    console.finish(code)
}

fn run_command(cli: cli::Cli) -> ExitCode {
    logging::start(cli.log);
    deaths::report_panics();
    let result = match cli.command {
        cli::Command::Run { file, pairs } => {
            let given = match file {
                Some(file) => Given::File(file),
                None => Given::Arguments(pairs.to_toml()),
            };
            return ended(run::run(&given));
        }
        cli::Command::Init { pairs, file, force } => return init::init(pairs, &file, force),
        cli::Command::Supervise { pid, line } => return ended(upgrade::supervise(pid, line)),
        cli::Command::Demo { seconds, listen } => {
            demo::run(Duration::from_secs(seconds), listen, &InProcess)
        }
        cli::Command::Compare(options) => compare(&options.into()),
        cli::Command::Convert(options) => return convert::convert(&options),
        cli::Command::Top { url, ca } => ctl::at(&url, None, ca.as_deref()).and_then(top::run),
        cli::Command::Check { file, explain } => return check::check(&file, explain),
        cli::Command::Doctor { file, json } => return doctor::doctor(file.as_deref(), json),
        cli::Command::Reload { check, socket } => {
            let wish = if check { Wish::Check } else { Wish::Reload };
            match client::reload(&socket, &wish) {
                Ok(code) => return code,
                Err(error) => Err(error),
            }
        }
        cli::Command::Ctl(ctl) => match ctl.run() {
            Ok(true) => return ExitCode::SUCCESS,
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        cli::Command::Upgrade { binary, socket } => {
            return ended(client::upgrade(&socket, binary.as_deref()));
        }
        cli::Command::Completions { shell } => {
            outln!("{}", completion::script(&shell).trim_end());
            return ExitCode::SUCCESS;
        }
        cli::Command::Complete { words } => {
            let names = completion::candidates(&words, |names| ctl::names(&words, names));
            names.iter().for_each(|name| outln!("{name}"));
            return ExitCode::SUCCESS;
        }
        cli::Command::Man { folder } => man::man(folder.as_deref()),
        cli::Command::Schema => {
            outln!("{}", proxy_config::schema().trim_end());
            return ExitCode::SUCCESS;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("corelane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a command that has one of its own.
fn ended(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            errln!("corelane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &compare::Options) -> anyhow::Result<()> {
    let loaded = config_file::load(&options.file)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    run::raise_descriptor_limit();
    compare::run(&loaded.config, options, &InProcess)
}
