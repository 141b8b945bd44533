//! One turn of one contestant: its load, the change, and what came of the connections.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::path::Path;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use proxy_load::{Clients, Mode, Stage};
use rustix::process::{Pid, kill_process};
use rustix::thread::set_current_timer_slack;

use super::Kind;
use super::arrivals::Arrivals;
use super::arrived::{Arrived, Watch, moved};
use super::busy::Busy;
use super::contestant::Contestant;
use super::cue::{Cue, Ending, Phase};
use super::faults::Faults;
use super::idle::Idle;
use super::left;
use super::pauses::Pauses;
use super::setting::Setting;
use super::transfers::Transfers;
use crate::admin::await_start;
use crate::cli::ChangeArgs;
use crate::cpu;
use crate::proxy::{Proxy, directory, free_port, services};
use crate::sys::{self, Priority};
use crate::turn::upstreams;

/// How long it may take until all idle connections are there.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// Load before anything is measured.
pub(super) const WARMUP: Duration = Duration::from_secs(1);
/// From so long on an answer is late. A handshake that the proxy's kernel dropped is tried again after a second.
pub(super) const LATE: Duration = Duration::from_millis(900);
/// When the connections are counted that the old process still serves.
const LEFT_AFTER: Duration = Duration::from_secs(2);
/// What is under way at the end has so long to be answered, in time or late.
pub(super) const CLOSING: Duration = LATE.saturating_add(Duration::from_millis(300));
/// How long the idle connections may take to answer, all together. The transfers have at least [`CLOSING`] to end.
const CHECK_MAX: Duration = Duration::from_secs(10);
/// Between two looks at how far the load is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What came of a turn.
pub(super) enum Outcome {
    Taken(Box<Figures>),
    /// The proxy went on as before, and why.
    NotTaken(String),
}

/// What a turn has shown.
pub(super) struct Figures {
    /// From the signal until the change was there.
    pub(super) until: Duration,
    /// Connections that a process of before still serves.
    pub(super) left: usize,
    /// Connections that went to another scheduler, where they are counted.
    pub(super) moved: Option<f64>,
    /// New connections that came due.
    pub(super) arrivals: u64,
    /// Bytes that the transfers sent.
    pub(super) bytes: u64,
    /// In the order of [`Kind`].
    pub(super) faults: [Faults; 4],
    pub(super) before: Pauses,
    pub(super) during: Pauses,
    /// Part of the time, before and from the signal on, that others had of the proxy's CPU.
    pub(super) foreign: f64,
    /// Of the busy connections' thread.
    pub(super) priority: Priority,
}

/// Starts the contestant and changes it.
pub(super) fn of(
    contestant: Contestant,
    corelane: Option<&Path>,
    args: &ChangeArgs,
) -> anyhow::Result<Outcome> {
    let (upstreams, addresses) = upstreams(Kind::ALL.len())?;
    let services = services(&addresses)?;
    let cpus = [args.machine.proxy_cpu];
    let admin = free_port()?.local_addr()?;
    let setting = Setting {
        contestant,
        services: &services,
        cpus: &cpus,
        corelane,
        admin,
        args,
    };
    let dir = directory()?;
    let launch = setting.launch(dir.path())?;
    let mut proxy = Proxy::run(launch, &services, dir, &cpus, &[])?;
    if matches!(
        contestant,
        Contestant::Reload(_) | Contestant::Switch { .. }
    ) {
        await_start(admin)?;
    }
    let outcome = changed(&setting, &mut proxy, &upstreams);
    // All that are there now end with it.
    proxy.find();
    outcome
}

/// Loads the proxy and changes it.
fn changed(
    setting: &Setting<'_>,
    proxy: &mut Proxy,
    upstreams: &[TcpListener],
) -> anyhow::Result<Outcome> {
    let args = setting.args;
    let cue = &Cue::new(LATE);
    let mut idle = Idle::new(args.idle as usize, cue);
    let every = Duration::from_millis(args.every.into());
    let mut busy = Busy::new(args.busy as usize, every, cue);
    let mut arrivals = Arrivals::new(args.arrivals.into(), cue);
    let pace = f64::from(args.pace) * 1e6;
    let mut transfers = Transfers::new(args.transfers as usize, pace, cue);
    let listens = proxy.listens.clone();
    let place = |kind: Kind| (listens[kind as usize], &upstreams[kind as usize]);

    let (change, priority) = thread::scope(|scope| {
        let ending = Ending(cue);
        let mut load = vec![scope.spawn(|| play(cue, place(Kind::Idle), &mut idle, false))];
        await_open(cue, &load[0])?;
        load.push(scope.spawn(|| play(cue, place(Kind::Transfers), &mut transfers, false)));
        load.push(scope.spawn(|| play(cue, place(Kind::Arrivals), &mut arrivals, false)));
        load.push(scope.spawn(|| play(cue, place(Kind::Busy), &mut busy, true)));
        let change = if load[0].is_finished() {
            // It says why when it is joined.
            Err(anyhow!("the idle connections' thread has ended"))
        } else {
            change(setting, proxy, cue, &load)
        };
        drop(ending);
        // The last one is that of the busy connections.
        let priority = join(load)?;
        Ok::<_, anyhow::Error>((change?, priority))
    })?;

    let now = Instant::now();
    idle.settle();
    busy.settle(now);
    arrivals.settle(now);
    transfers.settle(now);
    let Change {
        arrived,
        left,
        moved,
        foreign,
    } = change;
    let until = match arrived {
        Arrived::After(until) => until,
        Arrived::NotTaken(reason) => return Ok(Outcome::NotTaken(reason)),
    };
    let [before, during] = busy.pauses().map(|longest| Pauses::of(&longest));
    Ok(Outcome::Taken(Box::new(Figures {
        until,
        left,
        moved,
        arrivals: arrivals.begun,
        bytes: transfers.bytes(),
        faults: [idle.faults, busy.faults, arrivals.faults, transfers.faults],
        before,
        during,
        foreign,
        priority,
    })))
}

/// What was seen of a change.
struct Change {
    arrived: Arrived,
    left: usize,
    moved: Option<f64>,
    foreign: f64,
}

/// The time that a CPU was not idle, and what these processes had of it.
pub(super) struct Clocks {
    at: Instant,
    busy: Duration,
    proxy: Duration,
}

impl Clocks {
    pub(super) fn read(cpu: usize, pids: &[Pid]) -> Self {
        // One that has ended has no clock any more.
        let own = pids.iter().filter_map(|&pid| sys::cpu_time(pid).ok());
        Self {
            at: Instant::now(),
            busy: cpu::busy(cpu),
            proxy: own.sum(),
        }
    }

    /// Part of the time since `before` that others had.
    pub(super) fn foreign_since(&self, before: &Self) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let foreign = busy.saturating_sub(self.proxy.saturating_sub(before.proxy));
        foreign.as_secs_f64() / (self.at - before.at).as_secs_f64()
    }
}

/// Leads the load through its phases, and changes the proxy.
fn change(
    setting: &Setting<'_>,
    proxy: &mut Proxy,
    cue: &Cue,
    load: &[Player<'_>],
) -> anyhow::Result<Change> {
    let Setting {
        contestant,
        admin,
        args,
        ..
    } = *setting;
    let window = Duration::from_secs_f64(args.window);
    sleep(WARMUP);
    let watch = Watch::begin(contestant, proxy, admin)?;
    setting.change(proxy)?;
    let old = proxy.pids();
    let before = Clocks::read(args.machine.proxy_cpu, &old);
    cue.set(Phase::Before);
    sleep(window);
    cue.set(Phase::Change);
    let signalled = Instant::now();
    kill_process(proxy.pid(), contestant.signal())?;
    let arrived = watch.wait(contestant, proxy, signalled);
    let (mut left, mut moved_connections, mut foreign) = (0, None, 0.0);
    if let Arrived::After(_) = arrived {
        sleep((signalled + window).saturating_duration_since(Instant::now()));
        let mut pids = proxy.find();
        add_missing(&mut pids, &old);
        foreign = Clocks::read(args.machine.proxy_cpu, &pids).foreign_since(&before);
        cue.set(Phase::Closing);
        let closing = Instant::now() + CLOSING;
        sleep((signalled + LEFT_AFTER).saturating_duration_since(Instant::now()));
        match contestant {
            Contestant::Haproxy | Contestant::Nginx => {
                left = old.iter().map(|&pid| left::with(pid, &proxy.listens)).sum();
            }
            Contestant::Reload(_) | Contestant::Switch { .. } => moved_connections = moved(admin),
        }
        sleep(closing.saturating_duration_since(Instant::now()));
        check(cue, load);
    }
    Ok(Change {
        arrived,
        left,
        moved: moved_connections,
        foreign,
    })
}

/// Adds those of `more` that `pids` has not.
pub(super) fn add_missing(pids: &mut Vec<Pid>, more: &[Pid]) {
    for pid in more {
        if !pids.contains(pid) {
            pids.push(*pid);
        }
    }
}

/// A thread of the load.
pub(super) type Player<'scope> = ScopedJoinHandle<'scope, anyhow::Result<Priority>>;

/// Waits until all idle connections are there, or their thread has ended: it says why when it is joined.
pub(super) fn await_open(cue: &Cue, idle: &Player<'_>) -> anyhow::Result<()> {
    await_flag(&cue.opened, OPEN_MAX, slice::from_ref(idle));
    ensure!(
        cue.opened.load(Ordering::Relaxed) || idle.is_finished(),
        "the idle connections aren't open after {OPEN_MAX:?}"
    );
    Ok(())
}

/// Has the idle connections answer and the transfers end.
pub(super) fn check(cue: &Cue, load: &[Player<'_>]) {
    cue.set(Phase::Check);
    let closing = Instant::now() + CLOSING;
    await_flag(&cue.checked, CHECK_MAX, load);
    sleep(closing.saturating_duration_since(Instant::now()));
}

/// Waits for the end of the threads of a load that is over, and returns the priority of the last one.
pub(super) fn join(load: Vec<Player<'_>>) -> anyhow::Result<Priority> {
    let mut priority = Priority::Equal;
    for thread in load {
        let joined = thread.join();
        priority = joined.map_err(|_| anyhow!("a thread of the load panicked"))??;
    }
    Ok(priority)
}

/// Waits until the flag is set, or a thread of the load has ended, `most` at the longest.
fn await_flag(flag: &AtomicBool, most: Duration, load: &[Player<'_>]) {
    let deadline = Instant::now() + most;
    let is_over = || load.iter().any(ScopedJoinHandle::is_finished) || Instant::now() > deadline;
    while !flag.load(Ordering::Relaxed) && !is_over() {
        sleep(LOOK_EVERY);
    }
}

/// Runs clients, and the server behind the proxy, until it is over.
pub(super) fn play(
    cue: &Cue,
    (target, upstream): (SocketAddr, &TcpListener),
    clients: &mut dyn Clients,
    goes_first: bool,
) -> anyhow::Result<Priority> {
    let mut stage = Stage::start(target, upstream, Mode::Echo, Box::new(clients))?;
    let priority = if goes_first {
        sys::go_first()
    } else {
        Priority::Equal
    };
    // Else it sends late by as much as its sleeps may be long.
    set_current_timer_slack(NonZeroU64::new(1))?;
    while cue.phase() < Phase::Over {
        stage.turn()?;
    }
    stage.reset_server()?;
    Ok(priority)
}
