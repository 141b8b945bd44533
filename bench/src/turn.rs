//! One turn of one system: start it, load it, stop it.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::cpu;
use crate::load::{self, Clocks, Gauges, Timing};
use crate::memory::{self, Memory};
use crate::proxy::{Proxy, Start, free_port};
use crate::sample::Window;
use crate::system::System;
use crate::workload::Workload;

/// What the turns of one workload have in common.
pub(crate) struct Turn<'a> {
    pub(crate) workload: Workload,
    pub(crate) timing: Timing,
    pub(crate) start: Start<'a>,
}

impl Turn<'_> {
    /// Measures `system`, started afresh.
    pub(crate) fn of(&self, system: System) -> anyhow::Result<Window> {
        let (upstream, address) = upstream()?;
        let proxy = Proxy::start(system, &[address], &self.start)?;
        self.load(&upstream, proxy.listens[0], Some(&proxy))
    }

    /// Measures the load generator straight at its own server: what no proxy can be blamed for.
    pub(crate) fn direct(&self) -> anyhow::Result<Window> {
        let (upstream, address) = upstream()?;
        self.load(&upstream, address, None)
    }

    fn load(
        &self,
        upstream: &TcpListener,
        target: SocketAddr,
        proxy: Option<&Proxy>,
    ) -> anyhow::Result<Window> {
        let gauges = Dials {
            proxy,
            cpu: self.start.cpu,
        };
        load::run(self.workload, target, upstream, self.timing, &gauges)
    }
}

/// An upstream on a port of its own: connections of the turn before, in TIME_WAIT, are in nobody's way.
fn upstream() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = free_port()?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The gauges of a proxy and of its CPU; without a proxy its own stand at zero.
struct Dials<'a> {
    proxy: Option<&'a Proxy>,
    cpu: usize,
}

impl Gauges for Dials<'_> {
    fn clocks(&self) -> anyhow::Result<Clocks> {
        Ok(Clocks {
            proxy: self.proxy.map_or(Ok(Duration::ZERO), Proxy::cpu_time)?,
            busy: cpu::busy(self.cpu),
        })
    }

    fn memory(&self) -> anyhow::Result<Memory> {
        let pids = self.proxy.map(Proxy::pids).unwrap_or_default();
        Ok(Memory {
            user: memory::user(&pids)?,
            kernel: memory::kernel()?,
        })
    }
}
