//! Idle connections: each passes one message, so that it is set up on both sides of the proxy, and stays.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, recv};

use super::clients::{Clients, connect};
use super::server::{Mode, send_some};
use super::stage::Stage;
use super::{Gauges, Owner, Poller, Tally, Timing, measure};
use crate::sample::{Footprint, Window};

/// Bytes of the message.
const MESSAGE_BYTES: usize = 64;
/// Connections whose echo hasn't come yet: few enough for any accept queue.
const OPENING_MAX: usize = 64;
/// How long it may take until all are there.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// How long they are left alone before memory is read.
const SETTLE_MIN: Duration = Duration::from_secs(1);

/// Opens the connections and measures what they hold and burn while nothing happens.
pub(super) fn run(
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
    stage.server.reset_all()?;
    window.units = connections as u64;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / connections as f64;
    window.footprint = Some(Footprint {
        user: each(after.user, before.user),
        kernel: each(after.kernel, before.kernel),
    });
    Ok(window)
}

struct Idle {
    proxy: SocketAddr,
    connections: usize,
    sockets: Vec<OwnedFd>,
}

impl Idle {
    fn new(connections: usize, proxy: SocketAddr) -> Self {
        Self {
            proxy,
            connections,
            sockets: Vec::with_capacity(connections),
        }
    }

    /// Opens the next connection, if any is left.
    fn open(&mut self, poller: &Poller) -> anyhow::Result<()> {
        let index = self.sockets.len();
        if index == self.connections {
            return Ok(());
        }
        let socket = connect(self.proxy).with_context(|| format!("connection {index}"))?;
        // Ended by a reset, it leaves no TIME_WAIT to the next turn's kernel memory.
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        poller.add(&socket, Owner::Client, index, EventFlags::IN)?;
        let sent = send_some(&socket, &[b'i'; MESSAGE_BYTES])?;
        ensure!(sent == MESSAGE_BYTES, "no room for {MESSAGE_BYTES} bytes");
        self.sockets.push(socket);
        Ok(())
    }
}

impl Clients for Idle {
    fn start(&mut self, _: SocketAddr, poller: &Poller) -> anyhow::Result<()> {
        for _ in 0..OPENING_MAX {
            self.open(poller)?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        index: usize,
        _: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let mut echo = [0; MESSAGE_BYTES];
        let (_, bytes) = recv(&self.sockets[index], &mut echo, RecvFlags::empty())?;
        ensure!(bytes > 0, "connection {index} closed by the proxy");
        ensure!(
            bytes == MESSAGE_BYTES,
            "{bytes} bytes of the echo on connection {index}"
        );
        tally.add(1);
        self.open(poller)
    }
}
