//! What a proxy is put under, and what is read meanwhile. Clients and the upstream server are on one thread, so that the
//! proxy is what a run is bound by.

mod idle;
mod messages;
mod mix;
mod visits;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use proxy_load::{Bulk, Clients, Connect, Exchange, Mode, Stage};
use rustix::thread::set_current_timer_slack;

pub(crate) use self::messages::run_beside;
pub(crate) use self::mix::{Opened, run_opened};
use crate::memory::Memory;
use crate::sample::{Latency, Slice, Window};
use crate::workload::Workload;

/// Parts of a window, each with its own cost.
const SLICES: u32 = 10;

/// How long an open loop waits awake: longer than a thread takes to wake.
const SPIN: Duration = Duration::from_micros(50);

/// How long a number of units may take, under a tool that slows the proxy down.
const UNITS_MAX: Duration = Duration::from_secs(60);

/// When to begin measuring and for how long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timing {
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

/// The clocks read at both ends of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// CPU time of the proxy.
    pub(crate) proxy: Duration,
    /// Time for which the proxy's CPU was not idle.
    pub(crate) busy: Duration,
}

/// What is read of the proxy and of the machine.
pub(crate) trait Gauges {
    /// The clocks as they stand.
    fn clocks(&self) -> anyhow::Result<Clocks>;
    /// Memory as it stands.
    fn memory(&self) -> anyhow::Result<Memory>;
}

/// What to load, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) workload: Workload,
    /// Where the proxy accepts, for each upstream.
    pub(crate) targets: &'a [SocketAddr],
    pub(crate) upstreams: &'a [TcpListener],
    pub(crate) timing: Timing,
    /// Messages a second of the open loop that follows a closed one and gives the latencies; none follows without.
    pub(crate) rate: Option<f64>,
}

/// Puts a proxy under load, and reads the gauges around and between the slices of the measured window.
pub(crate) fn run(load: Load<'_>, gauges: &dyn Gauges) -> anyhow::Result<Window> {
    let Load {
        workload,
        targets,
        upstreams,
        timing,
        rate,
    } = load;
    match workload {
        Workload::Idle { connections } => {
            return idle::run(connections, targets[0], &upstreams[0], timing, gauges);
        }
        Workload::Mix { bulk, messages } => {
            return mix::run((bulk, messages), targets, upstreams, timing, gauges);
        }
        Workload::Visits(visit) => {
            return visits::run(visit, targets[0], upstreams, timing, gauges);
        }
        _ => {}
    }
    let mut window = closed(&mut closed_stage(load)?, timing, gauges)?;
    // Bytes have none.
    if !workload.has_latency() {
        window.latency = None;
    }
    if let Workload::PingPong { connections, bytes } = workload
        && let Some(rate) = rate
    {
        let clients = Exchange::open(connections, bytes, rate);
        window.latency = Some(Latency {
            quantiles: open(load, clients)?,
            rate: Some(rate),
        });
    }
    Ok(window)
}

/// Passes at least `units` as fast as the proxy can; returns how many they were.
pub(crate) fn run_units(load: Load<'_>, units: u64) -> anyhow::Result<u64> {
    let mut stage = closed_stage(load)?;
    let deadline = Instant::now() + UNITS_MAX;
    while stage.tally.units() < units {
        ensure!(
            Instant::now() < deadline,
            "{} of {units} units came through in {UNITS_MAX:?}",
            stage.tally.units()
        );
        stage.turn()?;
    }
    Ok(stage.tally.units())
}

/// Clients that do the next thing when the last is done: as much as the proxy can.
fn closed_stage(load: Load<'_>) -> anyhow::Result<Stage<'_>> {
    let (mode, clients): (Mode, Box<dyn Clients>) = match load.workload {
        Workload::PingPong { connections, bytes } => {
            let clients = Exchange::closed(connections, bytes);
            (Mode::Echo, Box::new(clients))
        }
        Workload::Bulk { connections } => (Mode::Sink, Box::new(Bulk::one_way(connections))),
        Workload::Duplex { connections } => (Mode::Duplex, Box::new(Bulk::both_ways(connections))),
        Workload::Connect { concurrency } => (Mode::Echo, Box::new(Connect::new(concurrency))),
        Workload::Idle { .. } | Workload::Mix { .. } | Workload::Visits(_) => {
            bail!("{} is no closed loop of one server", load.workload)
        }
    };
    Stage::start(load.targets[0], &load.upstreams[0], mode, clients)
}

/// The window of a closed loop, with its latencies.
fn closed(stage: &mut Stage<'_>, timing: Timing, gauges: &dyn Gauges) -> anyhow::Result<Window> {
    stage.run_for(timing.warmup)?;
    let mut window = measure(stage, timing.measured, gauges)?;
    ensure!(
        window.units > 0,
        "nothing came through in {:?}",
        window.wall
    );
    window.latency = Some(Latency {
        quantiles: stage.tally.latency(),
        rate: None,
    });
    Ok(window)
}

/// The latencies of clients that have their times.
fn open(load: Load<'_>, clients: Exchange) -> anyhow::Result<[Duration; 3]> {
    let (target, upstream) = (load.targets[0], &load.upstreams[0]);
    let mut stage = Stage::start(target, upstream, Mode::Echo, Box::new(clients))?;
    stage.spin = SPIN;
    // A proxy inherits the slack of the thread that starts it, so it is put back.
    set_current_timer_slack(NonZeroU64::new(1))?;
    stage.run_for(load.timing.warmup)?;
    stage.tally.reset();
    stage.run_for(load.timing.measured)?;
    set_current_timer_slack(None)?;
    stage.finish();
    Ok(stage.tally.latency())
}

/// Measures while `stage` goes on for `duration`.
fn measure(
    stage: &mut Stage<'_>,
    duration: Duration,
    gauges: &dyn Gauges,
) -> anyhow::Result<Window> {
    stage.tally.reset();
    let (started, before) = (Instant::now(), gauges.clocks()?);
    let mut slices = Vec::new();
    let (mut last, mut units) = (before, 0);
    for slice in 1..=SLICES {
        stage.run_until(started + duration * slice / SLICES)?;
        let now = gauges.clocks()?;
        slices.push(Slice {
            cpu: now.proxy - last.proxy,
            units: stage.tally.units() - units,
        });
        (last, units) = (now, stage.tally.units());
    }
    let wall = started.elapsed();
    let cpu = last.proxy - before.proxy;
    Ok(Window {
        wall,
        cpu,
        foreign: (last.busy - before.busy).saturating_sub(cpu),
        units,
        slices,
        latency: None,
        footprint: None,
        priority: None,
        plain: None,
    })
}
