//! The command line, and where the log goes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

/// An L4 TCP proxy whose scheduler is a line of its configuration.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What goes to stderr: off, error, warn, info, debug or trace.
    #[arg(long, global = true, default_value = "info", env = "CORELANE_LOG")]
    pub(crate) log: LevelFilter,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the proxy of a configuration file, until SIGTERM or SIGINT. SIGHUP reads listeners' shares again.
    Run {
        /// The configuration, in TOML.
        file: PathBuf,
    },
    /// Read a configuration file and report everything that is wrong with it.
    Check {
        /// The configuration, in TOML.
        file: PathBuf,
    },
    /// Show the same skewed load under each scheduler in turn; nothing needs to be installed.
    Demo {
        /// How long each scheduler runs.
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
        /// Where the metrics are meanwhile.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Show the cores of a running proxy in the terminal: q ends it, s sorts.
    Top {
        /// The admin server: http://HOST:PORT, with port 9600 unless another is given.
        #[arg(default_value = "http://127.0.0.1:9600")]
        url: String,
    },
}

pub(crate) fn parse() -> Cli {
    Cli::parse()
}

/// Sends the log to stderr: stdout is for what was asked for.
pub(crate) fn start_logging(level: LevelFilter) {
    use std::io::IsTerminal;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        .init();
}
