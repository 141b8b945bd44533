//! A running proxy: started on its CPU, and stopped whatever happens.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use peers::Service;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::sys;
use crate::system::{Launch, Place, System, Tuning};
use crate::visit::Duty;

/// How long a proxy may take until it accepts.
const START_MAX: Duration = Duration::from_secs(10);
/// The same under a prefix: an instrumented program runs tens of times slower.
const PREFIXED_START_MAX: Duration = Duration::from_secs(120);
/// How long it may take to end when told to.
const STOP_MAX: Duration = Duration::from_secs(2);
/// The same under a prefix, which may have much to write first.
const PREFIXED_STOP_MAX: Duration = Duration::from_secs(60);
/// Between two signals to one that is slow to hear the first.
const SIGNAL_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The upstream's accept queue.
const BACKLOG: i32 = 4096;
/// Ports below those that Linux gives to outgoing connections by default, so that none of these is in the way.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The file that has what it says.
const LOG: &str = "stderr.log";

/// Most processes of one proxy.
const PROCESSES_MAX: usize = 64;

/// How a system is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// The CPUs it has.
    pub(crate) cpus: &'a [usize],
    /// The binary, for a corelane.
    pub(crate) corelane: Option<&'a Path>,
    /// A program that runs it, and that program's arguments, as in `valgrind --tool=callgrind`; or nothing. It is
    /// told to end by SIGTERM, and has written what it writes when the [`Proxy`] is dropped.
    pub(crate) prefix: &'a [&'a str],
    /// For a corelane.
    pub(crate) tuning: Tuning<'a>,
    /// What it has to do besides relaying.
    pub(crate) duty: Duty<'a>,
}

/// One system, running between ports of its own and the upstreams.
pub(crate) struct Proxy {
    /// Where it accepts, in the order of the upstreams.
    pub(crate) listens: Vec<SocketAddr>,
    child: Child,
    /// The processes under the child, each with a descriptor that can't come to mean another process.
    descendants: Vec<(Pid, OwnedFd)>,
    stop: Signal,
    prefixed: bool,
    dir: TempDir,
}

impl Proxy {
    /// Starts `system` with a service for each of `upstreams`, and waits until it accepts for all of them.
    pub(crate) fn start(
        system: System,
        upstreams: &[SocketAddr],
        start: &Start<'_>,
    ) -> anyhow::Result<Self> {
        let dir = directory()?;
        let services = services(upstreams)?;
        let launch = system.launch(&Place {
            services: &services,
            cpus: start.cpus,
            dir: dir.path(),
            corelane: start.corelane,
            tuning: start.tuning,
            duty: start.duty,
        })?;
        Self::run(launch, &services, dir, start.cpus, start.prefix)
    }

    /// Runs what has its configuration in `dir`, on `cpus`, and waits until it accepts for all `services`.
    pub(crate) fn run(
        launch: Launch,
        services: &[Service],
        dir: TempDir,
        cpus: &[usize],
        prefix: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = prefixed(prefix, launch.command);
        let log = dir.path().join(LOG);
        command
            // A reason to end goes into the report, where the path by which it came says nothing.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let prefixed = !prefix.is_empty();
        let stop = if prefixed { Signal::TERM } else { launch.stop };
        sys::tie(&mut command, cpus, stop);
        let child = command
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        let mut proxy = Self {
            listens: services.iter().map(|service| service.listen).collect(),
            child,
            descendants: Vec::new(),
            stop,
            prefixed,
            dir,
        };

        let start_max = if prefixed {
            PREFIXED_START_MAX
        } else {
            START_MAX
        };
        let deadline = Instant::now() + start_max;
        while !proxy.is_up(launch.workers) {
            if let Some(status) = proxy.child.try_wait()? {
                bail!(
                    "ended at once, {status}: {}",
                    fs::read_to_string(&log).unwrap_or_default().trim()
                );
            }
            if Instant::now() > deadline {
                bail!("doesn't accept after {start_max:?}");
            }
            sleep(LOOK_EVERY);
        }
        Ok(proxy)
    }

    /// Its processes: the one that was started, then those under it.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        let descendants = self.descendants.iter().map(|(pid, _)| *pid);
        std::iter::once(self.pid()).chain(descendants).collect()
    }

    /// Finds its processes again: those that have ended are left out, and new ones are there.
    pub(crate) fn find(&mut self) -> Vec<Pid> {
        self.descendants = descendants(self.pid());
        self.pids()
    }

    /// Where its configuration is.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has said on stderr.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default()
    }

    /// Whether it has its workers and accepts for every service. A listener may accept before the worker
    /// exists that will serve it, whose CPU time would then be missed.
    fn is_up(&mut self, workers: usize) -> bool {
        self.descendants = descendants(self.pid());
        self.descendants.len() >= workers
            && (self.listens.iter()).all(|listen| TcpStream::connect(listen).is_ok())
    }

    /// CPU time of all its processes.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for pid in self.pids() {
            sum += sys::cpu_time(pid).with_context(|| {
                let pid = pid.as_raw_pid();
                format!("reading the CPU clock of the proxy's process {pid}: has it ended?")
            })?;
        }
        Ok(sum)
    }

    /// Ends a program and the tool that runs it, which has something to write first.
    ///
    /// Valgrind 3.19 doesn't know that `io_uring_enter` blocks: a worker that sleeps in it keeps the lock without which
    /// no other thread runs, the one that hears the signal among them. So a connection keeps the worker awake; and
    /// since a drain would wait for it, the signal comes until it is heard twice, which ends a drain.
    fn end_prefixed(&mut self) {
        let streams: Vec<TcpStream> = (self.listens.iter())
            .filter_map(|listen| TcpStream::connect_timeout(listen, STOP_MAX).ok())
            .collect();
        let deadline = Instant::now() + PREFIXED_STOP_MAX;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            // A tracer ends when what it traces does.
            for (_, pidfd) in &self.descendants {
                let _ = pidfd_send_signal(pidfd, self.stop);
            }
            let _ = kill_process(self.pid(), self.stop);
            self.await_end(SIGNAL_EVERY, || {
                for mut stream in &streams {
                    let _ = stream.write(&[0]);
                }
            });
        }
    }

    /// Waits until the child has ended, `most` at the longest, and does something between the looks at it.
    fn await_end(&mut self, most: Duration, between: impl Fn()) {
        let deadline = Instant::now() + most;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            between();
            sleep(LOOK_EVERY);
        }
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Errors mean that it ended before; there is nobody to tell.
        if matches!(self.child.try_wait(), Ok(None)) {
            if self.prefixed {
                self.end_prefixed();
            } else {
                let _ = kill_process(self.pid(), self.stop);
                self.await_end(STOP_MAX, || {});
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for (_, pidfd) in &self.descendants {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

/// A directory for the files of one proxy, which goes with it.
pub(crate) fn directory() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("bench-").tempdir()?)
}

/// A service on a port of its own for each of `upstreams`.
pub(crate) fn services(upstreams: &[SocketAddr]) -> anyhow::Result<Vec<Service>> {
    let service = |&upstream| {
        let listen = free_port()?.local_addr()?;
        Ok(Service { listen, upstream })
    };
    upstreams.iter().map(service).collect()
}

/// A listener of the loopback on a port that nothing uses.
pub(crate) fn free_port() -> anyhow::Result<TcpListener> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that start one after the other look in places that are far from each other.
    let first = (std::process::id() as u16).wrapping_mul(7_919);
    for _ in PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(first);
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

/// `command`, run by the program that `prefix` begins with.
fn prefixed(prefix: &[&str], command: Command) -> Command {
    let [program, args @ ..] = prefix else {
        return command;
    };
    let mut outer = Command::new(program);
    outer
        .args(args)
        .arg(command.get_program())
        .args(command.get_args());
    outer
}

/// The processes that `pid` has started, and those that these have.
fn descendants(pid: Pid) -> Vec<(Pid, OwnedFd)> {
    let mut found: Vec<(Pid, OwnedFd)> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            // One that has ended since is nobody's concern.
            if found.len() < PROCESSES_MAX
                && let Ok(pidfd) = pidfd_open(child, PidfdFlags::empty())
            {
                found.push((child, pidfd));
                parents.push(child);
            }
        }
    }
    found
}

/// The children of all the threads of `pid`.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid()));
    let lists = (threads.into_iter().flatten().flatten())
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let pids = list
                .split_whitespace()
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
            pids.collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_runs_the_command() {
        let mut command = Command::new("proxy");
        command.arg("-x");
        let command = prefixed(&["valgrind", "--tool=callgrind"], command);
        assert_eq!(command.get_program(), "valgrind");
        assert_eq!(
            command.get_args().collect::<Vec<_>>(),
            ["--tool=callgrind", "proxy", "-x"]
        );
        assert_eq!(prefixed(&[], command).get_program(), "valgrind");
    }

    #[test]
    fn grandchildren_are_found() {
        // The shells wait for what they start, as they have a command after it.
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'sleep 60; :'; :"])
            .spawn()
            .unwrap();
        let deadline = Instant::now() + START_MAX;
        while descendants(Pid::from_child(&child)).len() < 2 && Instant::now() < deadline {
            sleep(LOOK_EVERY);
        }
        let found = descendants(Pid::from_child(&child));
        child.kill().unwrap();
        child.wait().unwrap();
        for (_, pidfd) in &found {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        assert_eq!(found.len(), 2);
    }
}
