//! What idle connections cost.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::ensure;
use proxy_load::{Idle, Mode, Stage};

use super::{Gauges, Timing, measure};
use crate::sample::{Footprint, Window};

/// How long it may take until all are there.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// How long they are left alone before memory is read.
const SETTLE_MIN: Duration = Duration::from_secs(1);

/// Opens the connections and measures what they hold and burn while nothing happens.
pub(crate) fn run(
    connections: usize,
    proxy: SocketAddr,
    upstream: &TcpListener,
    timing: Timing,
    gauges: &dyn Gauges,
) -> anyhow::Result<Window> {
    let before = gauges.memory()?;
    let clients = Box::new(Idle::new(connections, proxy));
    let mut stage = Stage::start(proxy, upstream, Mode::Echo, clients)?;
    let deadline = Instant::now() + OPEN_MAX;
    while stage.tally.units() < connections as u64 {
        ensure!(
            Instant::now() < deadline,
            "{} of {connections} connections passed a message in {OPEN_MAX:?}",
            stage.tally.units()
        );
        stage.turn()?;
    }
    stage.run_for(timing.warmup.max(SETTLE_MIN))?;
    let after = gauges.memory()?;
    let mut window = measure(&mut stage, timing.measured, gauges)?;
    stage.reset_server()?;
    window.units = connections as u64;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / connections as f64;
    window.footprint = Some(Footprint {
        user: each(after.user, before.user),
        kernel: each(after.kernel, before.kernel),
    });
    Ok(window)
}
