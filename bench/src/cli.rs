//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, Parser, Subcommand};

use crate::load::Timing;
use crate::named::each_once;
use crate::system::System;
use crate::workload::Workload;

/// Compares corelane with other TCP proxies, side by side on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs workloads against systems, interleaved, and prints the tables.
    Run(RunArgs),
    /// Counts system calls (strace) and user-space instructions (callgrind) for each message.
    Counts(CountsArgs),
    /// Repeats the experiments of the article on thread-per-core that corelane comes from, its figures beside ours.
    Article(ArticleArgs),
    /// One service's latencies beside another's bulk on the same core: what shares and latency of a listener are for.
    Quotas(QuotasArgs),
    /// Heavy flows that all land on one core, under each of corelane's schedulers, and whether the cores even it out.
    Skew(SkewArgs),
    /// Scrapes of corelane's metrics with many servers configured, and what they take from messages meanwhile.
    Scrape(ScrapeArgs),
    /// What connections notice while a proxy takes a new configuration or another scheduler: lost ones, pauses, how long.
    Change(ChangeArgs),
    /// What connections notice while one process after the other takes over from the one before: lost ones, pauses, stranded ones.
    Upgrade(UpgradeArgs),
    /// Runs one of the echo servers (the harness starts them by itself).
    #[command(hide = true)]
    Echo(EchoArgs),
    /// Runs one of the reference relays (the harness starts them by itself).
    #[command(hide = true)]
    Peer(PeerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Workloads: `pingpong[:CONNECTIONS[:BYTES]]`, `bulk[:CONNECTIONS]` (one way), `duplex[:CONNECTIONS]` (both
    /// ways), `connect[:CONCURRENCY]`, `idle[:CONNECTIONS]`,
    /// `mix[:BULK[:PINGPONG]]`; short connections that ask more of a proxy than to relay: `sni[:NAMES[:BYTES]]` (routed by
    /// the name in a ClientHello of so many bytes), `denied[:NETWORKS]` and `allowed[:NETWORKS]` (from an address that is
    /// or isn't in a list of so many), `proxy-in[:VERSION]` and `proxy-out[:VERSION]` (headers of the PROXY protocol), and
    /// `visit[:BYTES]`, which is the same without any of that.
    #[arg(
        long,
        short,
        value_delimiter = ',',
        default_value = "pingpong:1,pingpong:100,bulk:1"
    )]
    pub(crate) workloads: Vec<Workload>,

    #[command(flatten)]
    pub(crate) turns: TurnArgs,

    /// Messages a second, of all connections together, in the open loop that gives the latencies of a ping-pong.
    /// By default half of what the first of HAProxy and nginx does in a closed loop, before the first round.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,

    /// Repeats a turn, three times at most, in which others had more than so many per cent of the proxy's CPU.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) foreign_max: u32,

    /// The section of the document that gets the results; others than the default have a directory of their own for
    /// plots and samples.
    #[arg(long, default_value = "results", value_parser = section)]
    pub(crate) section: String,

    /// Writes every sample to this file.
    #[arg(long)]
    pub(crate) csv: Option<PathBuf>,

    /// Writes the Markdown to this file as well as to standard output.
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CountsArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Workloads: `pingpong[:CONNECTIONS[:BYTES]]`, `bulk[:CONNECTIONS]`, `duplex[:CONNECTIONS]`,
    /// `connect[:CONCURRENCY]`.
    #[arg(
        long,
        short,
        value_delimiter = ',',
        default_value = "pingpong:1,pingpong:100,bulk:1,connect"
    )]
    pub(crate) workloads: Vec<Workload>,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("rounds", |arg| arg
        .default_value("5")
        .help("How often each contestant has its turn")),
    mut_arg("seconds", |arg| arg
        .default_value("1")
        .help("Seconds measured in one turn of an echo server")),
)]
pub(crate) struct ArticleArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    #[command(flatten)]
    pub(crate) turns: MeasuredArgs,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("systems", |arg| arg.default_value(
        "haproxy,haproxy-splice,nginx,corelane-glommio,corelane-tokio,corelane-tokio-per-core"
    )),
    mut_arg("rounds", |arg| arg.default_value("5")),
    mut_arg("warmup", |arg| arg.help("Seconds of load before measuring")),
)]
pub(crate) struct QuotasArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// `latency` of corelane's listener of messages.
    #[arg(long, default_value = "200us")]
    pub(crate) latency: String,

    #[command(flatten)]
    pub(crate) turns: TurnArgs,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("rounds", |arg| arg.help("How often each scheduler has its turn")),
    mut_arg("seconds", |arg| arg.default_value("6")),
    mut_arg("warmup", |arg| arg
        .default_value("3")
        .help("Seconds of load before measuring: the time that there is to even the load out")),
)]
pub(crate) struct SkewArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    #[command(flatten)]
    pub(crate) binary: BinaryArgs,

    #[command(flatten)]
    pub(crate) turns: TurnArgs,

    /// Workers of corelane.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub(crate) workers: u32,

    /// Per cent of a CPU that a worker may use.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(10..=100))]
    pub(crate) cap: u32,

    /// MB a second that each heavy flow has to send: together more than a worker can pass, and less than all can.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) heavy: u32,

    /// `[runtime.glommio] placement`, where it isn't to be the default.
    #[arg(long)]
    pub(crate) placement: Option<String>,

    /// Lines of `[runtime.glommio.rebalance]` beside `enabled`, as in `interval = "500ms"`.
    #[arg(long)]
    pub(crate) rebalance: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("systems", |arg| arg.default_value(
        "corelane-glommio,corelane-tokio,corelane-tokio-per-core"
    )),
    mut_arg("seconds", |arg| arg
        .default_value("5")
        .help("Seconds of messages without scrapes, and again with them")),
    mut_arg("warmup", |arg| arg.help("Seconds of messages before measuring")),
)]
pub(crate) struct ScrapeArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// Servers configured.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) servers: u32,

    #[command(flatten)]
    pub(crate) turns: TurnArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    #[command(flatten)]
    pub(crate) binary: BinaryArgs,

    /// What changes: `haproxy`, `nginx`, `corelane-glommio` and the like reload; `glommio-to-tokio-per-core` and the like
    /// switch corelane's scheduler; `reloads`, `switches`, `all`.
    #[arg(long, short, value_delimiter = ',', default_value = "all")]
    pub(crate) contestants: Vec<String>,

    /// How often each has its turn.
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Seconds for which connections are watched before the change, and again from it on.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) window: f64,

    /// Idle connections.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) idle: u32,

    /// Busy connections, whose pauses are measured.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) busy: u32,

    /// Milliseconds between two messages of a busy connection.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) every: u32,

    /// New connections a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) arrivals: u32,

    /// Long transfers.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) transfers: u32,

    /// MB a second of each transfer.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) pace: u32,

    /// Workers of corelane, unpinned on the proxy's CPU; one that is pinned by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    #[command(flatten)]
    pub(crate) binary: BinaryArgs,

    /// The corelane that runs first and that rollbacks go back to; a copy of the other one by default.
    #[arg(long)]
    pub(crate) before: Option<PathBuf>,

    /// Which proxies: `haproxy`, `nginx` and `envoy`, whose old processes have `--drain` seconds; `haproxy-no-limit` and
    /// `nginx-no-limit`, whose have as long as their connections; `corelane-glommio` and the like; `glommio-to-tokio`, one upgrade
    /// that changes the scheduler as well; `all`.
    #[arg(long, short, value_delimiter = ',', default_value = "all")]
    pub(crate) contestants: Vec<String>,

    /// How often each has its turn.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Idle connections.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) connections: u32,

    /// Long transfers, whose pauses are measured.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) transfers: u32,

    /// kB a second of each transfer.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) pace: u32,

    /// New connections a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) arrivals: u32,

    /// Upgrades, of which every third one is a rollback.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=30))]
    pub(crate) steps: u32,

    /// Seconds after which an old process of the others' ends, whatever connections it has.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) drain: u32,

    /// Seconds for which connections are watched before the first upgrade, and after each.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    pub(crate) window: f64,
}

/// What every comparison of proxies needs.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    /// Systems to compare, by name, or `all`; `corelane-glommio=BINARY` and the like for other builds of corelane.
    #[arg(
        long,
        short,
        value_delimiter = ',',
        default_value = "haproxy,haproxy-splice,nginx,tokio"
    )]
    pub(crate) systems: Vec<String>,

    #[command(flatten)]
    pub(crate) binary: BinaryArgs,
}

/// Which corelane is measured.
#[derive(Debug, Args)]
pub(crate) struct BinaryArgs {
    /// A corelane binary to use instead of building the workspace's.
    #[arg(long)]
    pub(crate) corelane: Option<PathBuf>,
}

/// How often something is measured, and for how long.
#[derive(Debug, Args)]
pub(crate) struct MeasuredArgs {
    /// How often each system has its turn.
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Seconds measured in one turn.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,
}

/// The same of a proxy, which is under load before.
#[derive(Debug, Args)]
pub(crate) struct TurnArgs {
    #[command(flatten)]
    pub(crate) measured: MeasuredArgs,

    /// Seconds of load before measuring: pools fill, windows open, a ring's first park is over.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    pub(crate) warmup: f64,
}

/// Where a measurement takes place, and where its results go.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// CPU of the proxy.
    #[arg(long, default_value_t = 0)]
    pub(crate) proxy_cpu: usize,

    /// CPU of the load generator and the upstream server.
    #[arg(long, default_value_t = 1)]
    pub(crate) load_cpu: usize,

    /// Niceness of proxy and load alike; below 0 needs privilege. For a machine that others use too. Under
    /// `kernel.sched_autogroup_enabled` it counts within a session only, and /proc/self/autogroup between them.
    #[arg(long, allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub(crate) nice: Option<i32>,

    /// TCP congestion control of the network namespace that this makes for proxy and load, which takes root and `ip`;
    /// `as-is` takes the machine's network as it is.
    #[arg(long, default_value = "cubic")]
    pub(crate) congestion: String,

    /// A directory (`docs`) whose BENCHMARKS.md gets the results between its markers, and plots and samples beside it.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

impl CommonArgs {
    /// The systems named, each once, in the order named.
    pub(crate) fn systems(&self) -> anyhow::Result<Vec<System>> {
        let systems = each_once(&self.systems, |name| match name {
            "all" => Ok(System::all()),
            name => Ok(vec![name.parse()?]),
        })?;
        for (index, system) in systems.iter().enumerate() {
            ensure!(
                systems[..index]
                    .iter()
                    .all(|other| other.to_string() != system.to_string()),
                "two builds are called {system}: give their files other names"
            );
        }
        Ok(systems)
    }
}

impl TurnArgs {
    /// The times of one turn.
    pub(crate) fn timing(&self) -> Timing {
        Timing {
            warmup: Duration::from_secs_f64(self.warmup),
            measured: Duration::from_secs_f64(self.measured.seconds),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Which server.
    pub(crate) echo: peers::Echo,
    /// Where it accepts.
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Which relay.
    pub(crate) relay: peers::Relay,
    /// Where it accepts, and where it connects to; as often as there are services.
    #[arg(long = "service", value_name = "LISTEN=UPSTREAM", required = true)]
    pub(crate) services: Vec<peers::Service>,
}

/// A name that can stand in a marker and a path.
fn section(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("small letters and hyphens only".to_owned())
    }
}

/// A duration's number of seconds, bounded so that no run is endless.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("between 0 and 600".to_owned())
    }
}

/// Messages a second, bounded by what one thread can send.
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1.0..=1e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("between 1 and 1,000,000".to_owned())
    }
}
