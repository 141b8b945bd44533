//! One turn of one system: start it, load it, stop it.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::cpu;
use crate::load::{self, Clocks, Gauges, Load, Timing};
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
    /// Messages a second of the open loop after a closed one.
    pub(crate) rate: Option<f64>,
}

impl Turn<'_> {
    /// Measures `system`, started afresh.
    pub(crate) fn of(&self, system: System) -> anyhow::Result<Window> {
        let (upstreams, addresses) = upstreams(self.workload.servers())?;
        let start = Start {
            duty: self.workload.duty(&addresses),
            ..self.start
        };
        let proxy = Proxy::start(system, &addresses[..self.workload.services()], &start)?;
        let mut window = self.load(&upstreams, &proxy.listens, Some(&proxy))?;
        drop(proxy);
        // Neighbours in time, so that their ratio is good.
        if let Some(workload) = self.workload.plain() {
            let plain = Turn { workload, ..*self };
            window.plain = Some(Box::new(plain.of(system)?));
        }
        Ok(window)
    }

    /// Measures the load generator straight at its own servers: what no proxy can be blamed for.
    pub(crate) fn direct(&self) -> anyhow::Result<Window> {
        let (upstreams, addresses) = upstreams(self.workload.services())?;
        self.load(&upstreams, &addresses, None)
    }

    fn load(
        &self,
        upstreams: &[TcpListener],
        targets: &[SocketAddr],
        proxy: Option<&Proxy>,
    ) -> anyhow::Result<Window> {
        let load = Load {
            workload: self.workload,
            targets,
            upstreams,
            timing: self.timing,
            rate: self.rate,
        };
        let cpus = self.start.cpus;
        load::run(load, &Dials { proxy, cpus })
    }
}

/// Upstreams on ports of their own: connections of the turn before, in TIME_WAIT, are in nobody's way.
pub(crate) fn upstreams(count: usize) -> anyhow::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
    let listeners = (0..count)
        .map(|_| free_port())
        .collect::<anyhow::Result<Vec<_>>>()?;
    let addresses = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()?;
    Ok((listeners, addresses))
}

/// The gauges of a proxy and of its CPUs; without a proxy its own stand at zero.
pub(crate) struct Dials<'a> {
    pub(crate) proxy: Option<&'a Proxy>,
    pub(crate) cpus: &'a [usize],
}

impl Gauges for Dials<'_> {
    fn clocks(&self) -> anyhow::Result<Clocks> {
        Ok(Clocks {
            proxy: self.proxy.map_or(Ok(Duration::ZERO), Proxy::cpu_time)?,
            busy: self.cpus.iter().map(|&cpu| cpu::busy(cpu)).sum(),
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
