//! `corelane compare`: one load under each scheduler, and which one to choose.
//!
//! Rounds are interleaved (A B C A B C), since a machine drifts by more than schedulers differ. Nothing of production
//! takes part: the listeners are on free ports of loopback and the servers are embedded echoes.

mod figures;
mod record;
mod scrape;
mod screen;
mod variant;
mod verdict;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use proxy_config::Config;
use proxy_console::outln;
use rustix::process::{Resource, getrlimit};

use self::figures::{Outcome, Round};
use self::variant::Kind;
use self::verdict::{Pace, Verdict};
use crate::host::Host;
use crate::load::{Flows, Load, Reading, Workload, pause};
use crate::machine::Machine;
use proxy_state::Imbalance;

/// Light flows.
pub const CONNECTIONS_MAX: usize = 4096;

/// Bytes of a message.
pub const BYTES_MAX: usize = 1 << 20;

/// Heavy flows.
pub const HEAVY_MAX: usize = 64;

/// Bytes of a heavy flow's message.
const HEAVY_BYTES: usize = 256 * 1024;

/// Time between two messages of a light flow beside heavy ones, which would else be crowded out by them.
const LIGHT_INTERVAL: Duration = Duration::from_millis(5);

/// Threads of clients, and as many of echoes.
const LOAD_THREADS_MAX: usize = 16;

/// CPUs for which there is one thread of clients.
const CPUS_A_LOAD_THREAD: usize = 4;

/// Descriptors of a connection: the client's, the proxy's two, the echo's. A direction of bulk has a pipe.
const DESCRIPTORS_A_CONNECTION: usize = 4;
const DESCRIPTORS_A_HEAVY_CONNECTION: usize = 8;

/// Descriptors of everything else.
const DESCRIPTORS_BESIDE: usize = 512;

/// How long a load runs before it is measured, at least and at most: live connections are moved meanwhile.
const WARM_UP_MIN: Duration = Duration::from_secs(1);
const WARM_UP_MAX: Duration = Duration::from_secs(5);

/// Intervals of the rebalancing that the load runs for before it is measured.
const WARM_UP_REBALANCES: u32 = 4;

/// How long workers may take to end their connections.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What is asked for.
pub struct Options {
    /// Where the configuration was read.
    pub file: PathBuf,
    /// After the live proxy's metrics, instead of by the next three.
    pub record: bool,
    /// Light flows.
    pub connections: usize,
    /// Bytes of their messages.
    pub bytes: usize,
    /// Heavy flows.
    pub heavy: usize,
    /// How long each scheduler is measured in each round.
    pub each: Duration,
    /// How often each scheduler has its turn.
    pub rounds: usize,
    /// JSON instead of a table.
    pub json: bool,
}

/// What is compared, and how.
struct Comparison {
    file: PathBuf,
    cpus: usize,
    workers: usize,
    workload: Workload,
    /// How the workload was found.
    notes: Vec<String>,
    /// What the configuration runs under.
    own: Kind,
    kinds: Vec<Kind>,
    /// Why the others don't run.
    skipped: Vec<(Kind, String)>,
    rounds: usize,
    each: Duration,
    warm_up: Duration,
}

/// What came of it.
struct Found {
    outcomes: Vec<Outcome>,
    verdict: Verdict,
    /// Part of the machine's CPU time that others had meanwhile.
    others: Option<f64>,
}

/// Compares, and prints what came of it.
///
/// # Errors
/// When there is no live proxy to record, or a port, a thread or a descriptor can't be had.
pub fn run(config: &Config, options: &Options, host: &dyn Host) -> anyhow::Result<()> {
    let comparison = Comparison::plan(config, options, host)?;
    let echoes: Vec<SocketAddr> = (0..comparison.workload.threads)
        .map(|_| host.start_echo())
        .collect::<Result<_, _>>()?;
    let config = variant::isolate(config, &echoes);
    screen::heading(&comparison);
    let begin = Machine::look();
    let outcomes = comparison.run(&config, host)?;
    let others = Machine::look().others_since(&begin);
    let pace = Pace {
        heavy: comparison.workload.heavy.count > 0,
        paced: comparison.is_paced(),
    };
    let verdict = verdict::choose(&outcomes, comparison.own, pace);
    let found = Found {
        verdict: verdict.context("no scheduler could run")?,
        outcomes,
        others,
    };
    if options.json {
        outln!("{}", screen::json(&comparison, &found));
    } else {
        screen::summary(&comparison, &found);
    }
    Ok(())
}

impl Comparison {
    fn plan(config: &Config, options: &Options, host: &dyn Host) -> anyhow::Result<Self> {
        let workers = host.workers(config)?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cpus / CPUS_A_LOAD_THREAD).clamp(1, LOAD_THREADS_MAX);
        let (workload, notes) = if options.record {
            let recorded = record::record(config.admin.listen.local())?;
            let workload = Workload {
                light: recorded.light,
                heavy: recorded.heavy,
                heavy_on_one_core: recorded.heavy_on_one_core,
                threads,
            };
            (workload, recorded.notes)
        } else {
            (described(options, threads), Vec::new())
        };
        check_descriptors(&workload)?;
        let unavailable = host.lacks_glommio(config)?;
        let (kinds, skipped): (Vec<_>, Vec<_>) = Kind::ALL
            .into_iter()
            .partition(|kind| unavailable.is_none() || !kind.is_glommio());
        let reason = std::iter::repeat(unavailable.clone());
        let skipped = skipped.into_iter().zip(reason);
        let interval = config.runtime.glommio.rebalance.interval;
        Ok(Self {
            file: options.file.clone(),
            cpus,
            workers,
            workload,
            notes,
            own: Kind::of(config, unavailable.is_none()),
            kinds,
            skipped: skipped
                .map(|(kind, reason)| (kind, reason.unwrap_or_default()))
                .collect(),
            rounds: options.rounds,
            each: options.each,
            warm_up: (interval * WARM_UP_REBALANCES).clamp(WARM_UP_MIN, WARM_UP_MAX),
        })
    }

    /// About how long it takes.
    fn duration(&self) -> Duration {
        (self.warm_up + self.each) * (self.rounds * self.kinds.len()) as u32
    }

    /// Whether the clients wait between messages, so that every scheduler is offered the same.
    fn is_paced(&self) -> bool {
        self.workload.light.interval.is_some()
    }

    fn run(&self, config: &Config, host: &dyn Host) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes: Vec<Outcome> = self
            .kinds
            .iter()
            .map(|&kind| Outcome {
                kind,
                rounds: Vec::new(),
            })
            .collect();
        for number in 1..=self.rounds {
            for outcome in &mut outcomes {
                let mut config = config.clone();
                outcome.kind.choose_in(&mut config);
                let round = self
                    .measure(&config, host)
                    .with_context(|| format!("{} can't be measured", outcome.kind.name()))?;
                screen::progress(number, self.rounds, outcome.kind, &round);
                outcome.rounds.push(round);
            }
        }
        Ok(outcomes)
    }

    fn measure(&self, config: &Config, host: &dyn Host) -> anyhow::Result<Round> {
        let proxy = host.start(config, None)?;
        let load = Load::start(&proxy, &self.workload).context("the clients can't connect")?;
        pause(self.warm_up);
        let (mark, begin) = (load.mark(), Reading::take(&proxy.threads));
        pause(self.each);
        let utilization = Reading::take(&proxy.threads).since(&begin);
        let report = load.report(&mark);
        drop(load);
        (proxy.stop)(STOP_PATIENCE);
        let imbalance = Imbalance::of(&utilization);
        let light_bytes = report.requests_per_second * self.workload.light.bytes as f64;
        Ok(Round {
            requests_per_second: report.requests_per_second,
            bytes_per_second: light_bytes + report.heavy_bytes_per_second,
            p50: report.p50.as_secs_f64(),
            p99: report.p99.as_secs_f64(),
            cpu: utilization.iter().sum(),
            imbalance: imbalance.ratio,
            stranded: imbalance.stranded,
            lost: report.lost,
        })
    }
}

/// The workload of the command line.
fn described(options: &Options, threads: usize) -> Workload {
    Workload {
        light: Flows {
            count: options.connections,
            bytes: options.bytes,
            interval: (options.heavy > 0).then_some(LIGHT_INTERVAL),
            messages: None,
        },
        heavy: Flows {
            count: options.heavy,
            bytes: HEAVY_BYTES,
            interval: None,
            messages: None,
        },
        heavy_on_one_core: true,
        threads,
    }
}

fn check_descriptors(workload: &Workload) -> anyhow::Result<()> {
    let needed = workload.light.count * DESCRIPTORS_A_CONNECTION
        + workload.heavy.count * DESCRIPTORS_A_HEAVY_CONNECTION
        + DESCRIPTORS_BESIDE;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed as u64 => bail!(
            "{} connections need {needed} descriptors here, and the limit is {limit}; raise it (`ulimit -n`), or lower \
             --connections",
            workload.light.count + workload.heavy.count
        ),
        _ => Ok(()),
    }
}

/// The name of a file for people.
fn shown(file: &Path) -> String {
    file.display().to_string()
}
