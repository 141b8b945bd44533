//! A mix: bulk on one service of the proxy, few messages on another.

use std::net::{SocketAddr, TcpListener};

use anyhow::ensure;
use proxy_load::{Bulk, Exchange, Mode, Stage};
use rustix::fd::OwnedFd;

use super::{Gauges, Timing, measure, messages};
use crate::sample::Window;
use crate::sys;

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
    let rate = messages::rate(connections);
    let messages = Exchange::open(connections, messages::BYTES, rate);
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
    let messages = Exchange::open(opened.messages.len(), messages::BYTES, rate).on(opened.messages);
    let clients = (Bulk::paced(opened.bulk, opened.bytes_per_second), messages);
    go(clients, rate, targets, upstreams, timing, gauges)
}

fn go(
    (bulk, messages): (Bulk, Exchange),
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
    let work = |begin| {
        // The kernel's own thread for packets that wait (ksoftirqd) would else take turns with the bulk load, and messages
        // would wait for that, for milliseconds.
        let _last = sys::Last::begin();
        flows.run_until(begin)?;
        measure(&mut flows, timing.measured, gauges)
    };
    let (target, upstream) = (targets[1], &upstreams[1]);
    let beside = messages::go((messages, rate), target, upstream, timing.warmup, work)?;
    let mut window = beside.work;
    window.latency = Some(beside.latency);
    window.priority = Some(beside.priority);
    Ok(window)
}
