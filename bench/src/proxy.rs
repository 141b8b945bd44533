//! A running proxy: started on its CPU, and stopped whatever happens.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::sys;
use crate::system::{Place, System};

/// How long a proxy may take until it accepts.
const START_MAX: Duration = Duration::from_secs(10);
/// How long it may take to end when told to.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Between two looks at whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The upstream's accept queue.
const BACKLOG: i32 = 4096;
/// Ports below those that Linux gives to outgoing connections by default, so that none of these is in the way.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// One system, running between a port and the upstream.
pub(crate) struct Proxy {
    pub(crate) listen: SocketAddr,
    child: Child,
    /// The processes that the child started, each with a descriptor that can't come to mean another process.
    descendants: Vec<(Pid, OwnedFd)>,
    stop: Signal,
    _dir: TempDir,
}

impl Proxy {
    /// Starts `system` on `cpu` and waits until it accepts.
    pub(crate) fn start(
        system: System,
        upstream: SocketAddr,
        cpu: usize,
        corelane: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let listen = free_port()?.local_addr()?;
        let launch = system.launch(&Place {
            listen,
            upstream,
            cpu,
            dir: dir.path(),
            corelane,
        })?;
        let mut command = launch.command;
        let log = dir.path().join("stderr.log");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        sys::tie(&mut command, cpu, launch.stop);
        let child = command
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        let mut proxy = Self {
            listen,
            child,
            descendants: Vec::new(),
            stop: launch.stop,
            _dir: dir,
        };

        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(listen).is_err() {
            if let Some(status) = proxy.child.try_wait()? {
                bail!(
                    "ended at once, {status}: {}",
                    fs::read_to_string(&log).unwrap_or_default().trim()
                );
            }
            if Instant::now() > deadline {
                bail!("doesn't accept after {START_MAX:?}");
            }
            sleep(LOOK_EVERY);
        }
        proxy.descendants = descendants(proxy.pid());
        Ok(proxy)
    }

    /// CPU time of all its processes.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut sum = sys::cpu_time(self.pid())
            .context("reading the CPU clock of the proxy: has it ended?")?;
        for (pid, _) in &self.descendants {
            sum += sys::cpu_time(*pid)?;
        }
        Ok(sum)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Errors mean that it ended before; there is nobody to tell.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid(), self.stop);
            let deadline = Instant::now() + STOP_MAX;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                sleep(LOOK_EVERY);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for (_, pidfd) in &self.descendants {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

/// A listener of the loopback on a port that nothing uses.
pub(crate) fn free_port() -> anyhow::Result<TcpListener> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in PORTS {
        let step = NEXT
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(std::process::id() as u16);
        let port = PORTS.start + step % (PORTS.end - PORTS.start);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if socket
            .bind(&address.into())
            .and_then(|()| socket.listen(BACKLOG))
            .is_ok()
        {
            return Ok(socket.into());
        }
    }
    bail!("no free port in {PORTS:?}")
}

/// The processes that `pid` has started.
fn descendants(pid: Pid) -> Vec<(Pid, OwnedFd)> {
    let pid = pid.as_raw_pid();
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = children
        .split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    pids.filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
        .collect()
}
