//! The load generator and the upstream server: one thread, one epoll, so that little of their CPU is lost to
//! switching between them and the proxy is what a run is bound by.

mod bulk;
mod clients;
mod connect;
mod idle;
mod pingpong;
mod poller;
mod server;
mod stage;
mod tally;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::ensure;

use self::clients::Clients;
use self::poller::{Owner, Poller};
use self::server::Mode;
use self::stage::Stage;
use self::tally::Tally;
use crate::memory::Memory;
use crate::sample::{Slice, Window};
use crate::workload::Workload;

/// Parts of a window, each with its own cost.
const SLICES: u32 = 10;

/// When to begin measuring and for how long.
#[derive(Clone, Copy, Debug)]
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

/// Puts the proxy at `proxy`, whose upstream is `upstream`, under `workload`, and reads the gauges around and
/// between the slices of the measured window.
pub(crate) fn run(
    workload: Workload,
    proxy: SocketAddr,
    upstream: &TcpListener,
    timing: Timing,
    gauges: &dyn Gauges,
) -> anyhow::Result<Window> {
    let (mode, clients): (Mode, Box<dyn Clients>) = match workload {
        Workload::PingPong { connections, bytes } => (
            Mode::Echo,
            Box::new(pingpong::PingPong::new(connections, bytes)),
        ),
        Workload::Bulk { connections } => (Mode::Sink, Box::new(bulk::Bulk::one_way(connections))),
        Workload::Duplex { connections } => {
            (Mode::Duplex, Box::new(bulk::Bulk::both_ways(connections)))
        }
        Workload::Connect { concurrency } => {
            (Mode::Echo, Box::new(connect::Connect::new(concurrency)))
        }
        Workload::Idle { connections } => {
            return idle::run(connections, proxy, upstream, timing, gauges);
        }
    };
    let mut stage = Stage::start(proxy, upstream, mode, clients)?;
    stage.run_for(timing.warmup)?;
    let mut window = measure(&mut stage, timing.measured, gauges)?;
    ensure!(
        window.units > 0,
        "nothing came through in {:?}",
        window.wall
    );
    window.latency = workload.has_latency().then(|| stage.tally.latency());
    Ok(window)
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
    })
}
