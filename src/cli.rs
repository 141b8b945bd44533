//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::client::DEFAULT_SOCKET;
use crate::ctl::Ctl;
use crate::pairs::Pairs;
use proxy_console::{errln, outln};
use proxy_tools::compare::{self, BYTES_MAX, CONNECTIONS_MAX, HEAVY_MAX};

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
    /// Run a proxy until SIGTERM or SIGINT: that of a configuration file, or of --listen and --to. SIGHUP reads the file again,
    /// SIGUSR2 upgrades.
    Run {
        /// The configuration, in TOML; - is standard input.
        #[arg(required_unless_present = "listen", conflicts_with_all = ["listen", "to", "scheduler", "admin"])]
        file: Option<PathBuf>,
        #[command(flatten)]
        pairs: Pairs,
    },
    /// Write a configuration file to begin with, whose comments name what comes next.
    Init {
        #[command(flatten)]
        pairs: Pairs,
        /// Where to write it; - is standard output.
        #[arg(default_value = "corelane.toml")]
        file: PathBuf,
        /// Replace a file that exists.
        #[arg(long)]
        force: bool,
    },
    /// Read a configuration file and report everything that is wrong with it.
    Check {
        /// The configuration, in TOML; - is standard input.
        file: PathBuf,
        /// Print what it means on this machine: a file with every default, and in comments CPUs, addresses and limits. Warn of what
        /// is dangerous.
        #[arg(long)]
        explain: bool,
    },
    /// Look at this machine: what a proxy needs of it, what is missing, and the command that mends it. Fails where something is
    /// missing that it can't do without.
    Doctor {
        /// A configuration, to look for what it asks for; - is standard input.
        file: Option<PathBuf>,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have a running proxy read its configuration again, and say what that changed.
    Reload {
        /// Only say what would change.
        #[arg(long)]
        check: bool,
        /// Where the proxy takes commands: `socket` of its `[admin]`.
        #[arg(long, default_value = DEFAULT_SOCKET, env = "CORELANE_SOCKET")]
        socket: PathBuf,
    },
    /// Ask a running proxy for what it does, and change it.
    Ctl(Ctl),
    /// Have another process take over from a running proxy, which keeps its connections: that of an executable that was
    /// installed since, or of any other version.
    Upgrade {
        /// The executable to run; without it, what is at the path of the proxy's own now.
        binary: Option<PathBuf>,
        /// Where the proxy takes commands: `socket` of its `[admin]`.
        #[arg(long, default_value = DEFAULT_SOCKET, env = "CORELANE_SOCKET")]
        socket: PathBuf,
    },
    /// Watch the process that has taken over from this one, as a process does that nobody else watches after an upgrade.
    #[command(hide = true)]
    Supervise { pid: i32, line: i32 },
    /// Print what has a shell complete names: `eval "$(corelane completions bash)"`.
    Completions {
        #[arg(value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// What the last of some words may become.
    #[command(hide = true)]
    Complete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Print the manual page: `corelane man | man -l -`; or write those of all commands.
    Man {
        /// A folder, for a page of each command.
        folder: Option<PathBuf>,
    },
    /// Print the JSON schema of the configuration, for editors.
    Schema,
    /// Run one load under each scheduler on this machine, and tell which one to choose.
    Compare(Compare),
    /// Make a configuration of that of another proxy: haproxy.cfg. Prints what can't be carried over, and why.
    Convert(Convert),
    /// Show the same skewed load under each scheduler in turn; nothing needs to be installed.
    Demo {
        /// How long each scheduler runs.
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
        /// Where the metrics are meanwhile.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Show the cores of a running proxy in the terminal: h lists the keys, q ends it.
    Top {
        /// The admin server: http://HOST:PORT or https://HOST:PORT, with port 9600 unless another is given.
        #[arg(default_value = "http://127.0.0.1:9600")]
        url: String,
        /// With an https:// URL: certificates in PEM, of which one must have signed the server's. It may be the server's own.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
}

/// A load, and how long it runs.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The configuration, in TOML; - is standard input. Its addresses and servers are not used.
    file: PathBuf,
    /// Take the load for a model that a live proxy at the configuration's `listen` of `[admin]` has now.
    #[arg(long, conflicts_with_all = ["connections", "bytes", "heavy"])]
    record: bool,
    /// Connections that send a message and wait for its answer.
    #[arg(long, default_value_t = 64, value_parser = within(1, CONNECTIONS_MAX))]
    connections: u64,
    /// Bytes of their messages.
    #[arg(long, default_value_t = 64, value_parser = within(1, BYTES_MAX))]
    bytes: u64,
    /// Connections of bulk beside them, all of which begin on one core; the others then send each 20 ms.
    #[arg(long, default_value_t = 0, value_parser = within(0, HEAVY_MAX))]
    heavy: u64,
    /// How long each scheduler is measured in each round; where it sends as fast as it can, latencies take half as long again.
    #[arg(long, default_value_t = 3, value_parser = within(1, 60))]
    seconds: u64,
    /// How often each scheduler has its turn.
    #[arg(long, default_value_t = 3, value_parser = within(3, 9))]
    rounds: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl From<Compare> for compare::Options {
    fn from(compare: Compare) -> Self {
        Self {
            file: compare.file,
            record: compare.record,
            connections: compare.connections as usize,
            bytes: compare.bytes as usize,
            heavy: compare.heavy as usize,
            each: Duration::from_secs(compare.seconds),
            rounds: compare.rounds as usize,
            json: compare.json,
        }
    }
}

/// The files of another proxy, and where the result goes.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The configuration, its files in the order in which the other proxy reads them; a directory stands for the files in it.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Whose configuration it is; without it, names and contents of the files tell.
    #[arg(long, value_parser = ["haproxy", "nginx", "envoy", "traefik"])]
    pub(crate) from: Option<String>,
    /// The file to write; without it, the result goes to stdout.
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
}

fn within(min: u64, max: usize) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(min..=max as u64)
}

/// The command line, or the exit code where it asks for nothing to be run: help, or a mistake, which is printed.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        let text = error.render();
        if error.use_stderr() {
            errln!("{}", text.to_string().trim_end());
        } else {
            outln!("{}", text.to_string().trim_end());
        }
        ExitCode::from(error.exit_code() as u8)
    })
}
