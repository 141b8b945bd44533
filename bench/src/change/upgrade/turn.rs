//! One turn of one contestant: its load, its upgrades, and what came of the connections.

use std::net::TcpListener;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rustix::process::Pid;

use super::contestant::Contestant;
use super::lineage::{Lineage, Step, is_rollback};
use super::setting::Setting;
use crate::change::arrivals::Arrivals;
use crate::change::cue::{Cue, Ending, Phase};
use crate::change::faults::Faults;
use crate::change::idle::Idle;
use crate::change::pauses::Pauses;
use crate::change::transfers::Transfers;
use crate::change::turn::{
    CLOSING, Clocks, LATE, Player, WARMUP, add_missing, await_open, check, join, play,
};
use crate::cli::UpgradeArgs;
use crate::proxy::services;
use crate::sys::Priority;
use crate::turn::upstreams;

/// Services, in this order: of new connections, of idle ones, and of transfers.
const SERVICES: usize = 3;

/// What a turn has shown.
pub(super) struct Figures {
    /// Upgrades and rollbacks that were taken, of so many.
    pub(super) done: [u32; 2],
    pub(super) of: [u32; 2],
    /// Why the next one was not.
    pub(super) not_taken: Option<String>,
    /// How long each took.
    pub(super) took: Vec<Duration>,
    /// Of new connections, idle ones, and transfers.
    pub(super) faults: [Faults; SERVICES],
    /// The longest ones of a transfer and of a new connection, before and from the first upgrade on.
    pub(super) transfers: [Pauses; 2],
    pub(super) arrivals: [Pauses; 2],
    /// New connections, and bytes that the transfers sent.
    pub(super) begun: u64,
    pub(super) bytes: u64,
    /// Old processes that still served connections at the end, and how many.
    pub(super) left: [usize; 2],
    /// Part of the time before that others had of the proxy's CPU.
    pub(super) foreign: f64,
    /// The longest time that the load generator's own thread of transfers stood still.
    pub(super) still: Duration,
    /// Of the threads whose pauses are measured.
    pub(super) priority: Priority,
}

/// Starts the contestant and upgrades it.
pub(super) fn of(
    contestant: Contestant,
    corelane: Option<[&Path; 2]>,
    args: &UpgradeArgs,
) -> anyhow::Result<Figures> {
    let (upstreams, addresses) = upstreams(SERVICES)?;
    let services = services(&addresses)?;
    let cpus = [args.machine.proxy_cpu];
    let setting = Setting {
        contestant,
        services: &services,
        cpus: &cpus,
        corelane,
        args,
    };
    let mut lineage = Lineage::start(&setting)?;
    upgraded(&mut lineage, &upstreams, &setting)
}

/// Loads the proxy and upgrades it.
fn upgraded(
    lineage: &mut Lineage<'_>,
    upstreams: &[TcpListener],
    setting: &Setting<'_>,
) -> anyhow::Result<Figures> {
    let args = setting.args;
    let cue = &Cue::new(LATE);
    let mut arrivals = Arrivals::new(args.arrivals.into(), cue);
    let mut idle = Idle::new(args.connections as usize, cue);
    let pace = f64::from(args.pace) * 1e3;
    let mut transfers = Transfers::new(args.transfers as usize, pace, cue);
    let listens = lineage.proxy.listens.clone();
    let place = |index: usize| (listens[index], &upstreams[index]);

    let (steps, priority) = thread::scope(|scope| {
        let ending = Ending(cue);
        let mut load = vec![scope.spawn(|| play(cue, place(1), &mut idle, false))];
        await_open(cue, &load[0])?;
        load.push(scope.spawn(|| play(cue, place(2), &mut transfers, true)));
        load.push(scope.spawn(|| play(cue, place(0), &mut arrivals, true)));
        let steps = if load[0].is_finished() {
            // It says why when it is joined.
            Err(anyhow!("the idle connections' thread has ended"))
        } else {
            upgrade(lineage, setting, cue, &load)
        };
        drop(ending);
        let priority = join(load)?;
        Ok::<_, anyhow::Error>((steps?, priority))
    })?;

    let now = Instant::now();
    idle.settle();
    arrivals.settle(now);
    transfers.settle(now);
    let pauses = |longest: [Vec<Duration>; 2]| longest.map(|longest| Pauses::of(&longest));
    let Steps {
        done,
        of,
        not_taken,
        took,
        left,
        foreign,
    } = steps;
    Ok(Figures {
        done,
        of,
        not_taken,
        took,
        faults: [arrivals.faults, idle.faults, transfers.faults],
        transfers: pauses(transfers.pauses()),
        arrivals: pauses(arrivals.pauses()),
        begun: arrivals.begun,
        bytes: transfers.bytes(),
        still: transfers.still()[0],
        left,
        foreign,
        priority,
    })
}

/// What was seen of the upgrades.
#[derive(Default)]
struct Steps {
    done: [u32; 2],
    of: [u32; 2],
    not_taken: Option<String>,
    took: Vec<Duration>,
    left: [usize; 2],
    foreign: f64,
}

/// Leads the load through its phases, and upgrades the proxy.
fn upgrade(
    lineage: &mut Lineage<'_>,
    setting: &Setting<'_>,
    cue: &Cue,
    load: &[Player<'_>],
) -> anyhow::Result<Steps> {
    let Setting {
        contestant, args, ..
    } = *setting;
    let window = Duration::from_secs_f64(args.window);
    sleep(WARMUP);
    let before = Clocks::read(args.machine.proxy_cpu, &lineage.pids());
    cue.set(Phase::Before);
    sleep(window);
    let mut steps = Steps {
        foreign: Clocks::read(args.machine.proxy_cpu, &lineage.pids()).foreign_since(&before),
        ..Steps::default()
    };
    cue.set(Phase::Change);
    let last = match contestant {
        Contestant::Switching { .. } => 1,
        _ => args.steps,
    };
    let mut all: Vec<Pid> = Vec::new();
    for step in 1..=last {
        let kind = usize::from(is_rollback(step));
        steps.of[kind] += 1;
        if steps.not_taken.is_some() {
            continue;
        }
        let old = lineage.pids();
        add_missing(&mut all, &old);
        let asked = Instant::now();
        match lineage.step(step)? {
            Step::Taken(took) => {
                steps.took.push(took);
                steps.done[kind] += 1;
            }
            Step::NotTaken(reason) => steps.not_taken = Some(reason),
        }
        sleep(window);
        if contestant.has_limit() {
            lineage.await_limit(&old, asked);
        }
    }
    // Who came last is none of before.
    let old: Vec<Pid> = match steps.took.len() {
        0 => Vec::new(),
        _ => all,
    };
    cue.set(Phase::Closing);
    let closing = Instant::now() + CLOSING;
    steps.left = lineage.left(&old);
    sleep(closing.saturating_duration_since(Instant::now()));
    check(cue, load);
    Ok(steps)
}
