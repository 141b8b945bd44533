//! What is compared, and how.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use proxy_config::Config;
use proxy_load::{Flows, Workload};
use rustix::process::{Resource, getrlimit};

use super::options::Options;
use super::record;
use crate::candidate::Candidate;
use crate::host::Host;

/// Bytes of a heavy flow's message.
const HEAVY_BYTES: usize = 256 * 1024;

/// Time between two messages of a light flow beside heavy ones, which would else be crowded out by them.
const LIGHT_INTERVAL: Duration = Duration::from_millis(20);

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

/// How long each scheduler is under load before anything is measured of it, to find the rate of the open loop; the first
/// half of it is warm-up.
pub(super) const CALIBRATION: Duration = Duration::from_secs(1);

/// How long an open loop runs after a closed one before its latencies count.
pub(super) const SETTLE: Duration = Duration::from_millis(250);

/// What is compared, and how.
pub(super) struct Comparison {
    pub(super) file: PathBuf,
    pub(super) cpus: usize,
    pub(super) workers: usize,
    pub(super) workload: Workload,
    /// How the workload was found.
    pub(super) notes: Vec<String>,
    /// What the configuration runs under.
    pub(super) own: Candidate,
    pub(super) candidates: Vec<Candidate>,
    /// Why the others don't run.
    pub(super) skipped: Vec<(Candidate, String)>,
    pub(super) rounds: usize,
    pub(super) each: Duration,
    pub(super) warm_up: Duration,
}

impl Comparison {
    pub(super) fn plan(
        config: &Config,
        options: &Options,
        host: &dyn Host,
    ) -> anyhow::Result<Self> {
        let workers = host.workers(config)?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cpus / CPUS_A_LOAD_THREAD).clamp(1, LOAD_THREADS_MAX);
        let (workload, notes) = if options.record {
            let tls = config.admin.tls.as_ref();
            let certificate = tls.map(|tls| {
                let path = &tls.certificate;
                std::fs::read(path).with_context(|| format!("tls_certificate {}", path.display()))
            });
            let certificate = certificate.transpose()?;
            let recorded = record::record(config.admin.listen.local(), certificate.as_deref())?;
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
        let (mut candidates, mut skipped) = (Vec::new(), Vec::new());
        for candidate in host.candidates() {
            match host.cannot_run(&candidate.chosen_in(config))? {
                Some(reason) => skipped.push((candidate, reason)),
                None => candidates.push(candidate),
            }
        }
        let interval = host.moves_every(config);
        Ok(Self {
            file: options.file.clone(),
            cpus,
            workers,
            workload,
            notes,
            own: host.candidate(config)?,
            candidates,
            skipped,
            rounds: options.rounds,
            each: options.each,
            warm_up: (interval * WARM_UP_REBALANCES).clamp(WARM_UP_MIN, WARM_UP_MAX),
        })
    }

    /// About how long it takes.
    pub(super) fn duration(&self) -> Duration {
        let candidates = self.candidates.len() as u32;
        let (before, open_loop) = if self.is_paced() {
            (Duration::ZERO, Duration::ZERO)
        } else {
            (CALIBRATION, SETTLE + self.open_loop())
        };
        candidates * (before + self.rounds as u32 * (self.warm_up + self.each + open_loop))
    }

    /// How long a scheduler's latencies are measured in one round, after its work was.
    pub(super) fn open_loop(&self) -> Duration {
        self.each / 2
    }

    /// Threads of clients.
    pub(super) fn client_threads(&self) -> usize {
        let kinds = [self.workload.light, self.workload.heavy];
        let threads = |flows: &Flows| self.workload.threads.min(flows.count);
        kinds.iter().map(threads).sum()
    }

    /// Whether the clients wait between messages, so that every scheduler is offered the same.
    pub(super) fn is_paced(&self) -> bool {
        self.workload.light.interval.is_some()
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
