//! A mix: bulk on one service of the proxy, few messages on another, as an open loop on a thread that goes before the
//! bulk load, so that what a message waits for is the proxy and not the load generator.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use rustix::fd::OwnedFd;

use super::bulk::Bulk;
use super::open_loop::OpenLoop;
use super::server::Mode;
use super::stage::Stage;
use super::{Gauges, Timing, measure};
use crate::sample::{Latency, Window};
use crate::sys;

/// Messages a second on each connection.
const MESSAGES_PER_SECOND: f64 = 50.0;
/// Bytes of a message.
const MESSAGE_BYTES: usize = 64;

/// Connections that are open, to both services.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) bulk: Vec<OwnedFd>,
    /// Of each flow, at most.
    pub(crate) bytes_per_second: f64,
    pub(crate) messages: Vec<OwnedFd>,
    /// Of all these together.
    pub(crate) messages_per_second: f64,
}

/// Loads both services, which are in this order: bulk, messages.
pub(super) fn run(
    (bulk, connections): (usize, usize),
    targets: &[SocketAddr],
    upstreams: &[TcpListener],
    timing: Timing,
    gauges: &dyn Gauges,
) -> anyhow::Result<Window> {
    let rate = MESSAGES_PER_SECOND * connections as f64;
    let messages = OpenLoop::new(connections, MESSAGE_BYTES, rate);
    let clients = (Bulk::one_way(bulk), messages);
    go(clients, rate, targets, upstreams, timing, gauges)
}

/// The same on connections that are open.
pub(crate) fn run_opened(
    opened: Opened,
    targets: &[SocketAddr],
    upstreams: &[TcpListener],
    timing: Timing,
    gauges: &dyn Gauges,
) -> anyhow::Result<Window> {
    let rate = opened.messages_per_second;
    let messages = OpenLoop::on(opened.messages, MESSAGE_BYTES, rate);
    let clients = (Bulk::paced(opened.bulk, opened.bytes_per_second), messages);
    go(clients, rate, targets, upstreams, timing, gauges)
}

fn go(
    (bulk, messages): (Bulk, OpenLoop),
    rate: f64,
    targets: &[SocketAddr],
    upstreams: &[TcpListener],
    timing: Timing,
    gauges: &dyn Gauges,
) -> anyhow::Result<Window> {
    ensure!(
        targets.len() == 2 && upstreams.len() == 2,
        "a mix takes two services"
    );
    let mut flows = Stage::start(targets[0], &upstreams[0], Mode::Sink, Box::new(bulk))?;

    let started = Instant::now();
    thread::scope(|scope| {
        let messages = scope.spawn(move || {
            let clients = Box::new(messages);
            let mut messages = Stage::start(targets[1], &upstreams[1], Mode::Echo, clients)?;
            let priority = sys::go_first();
            messages.run_until(started + timing.warmup)?;
            messages.tally.reset();
            messages.run_until(started + timing.warmup + timing.measured)?;
            messages.finish();
            Ok((priority, messages.tally.latency()))
        });
        // The kernel's own thread for packets that wait (ksoftirqd) would else take turns with the bulk load, and messages
        // would wait for that, for milliseconds.
        let _last = sys::Last::begin();
        flows.run_until(started + timing.warmup)?;
        let mut window = measure(&mut flows, timing.measured, gauges)?;
        let result: anyhow::Result<(sys::Priority, [Duration; 3])> = messages
            .join()
            .map_err(|_| anyhow!("the messages' thread panicked"))?;
        let (priority, quantiles) = result?;
        window.latency = Some(Latency {
            quantiles,
            rate: Some(rate),
        });
        window.priority = Some(priority);
        Ok(window)
    })
}
