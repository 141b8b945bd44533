//! What the machine and this process have.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::Path;

use backend_glommio::Unavailable;
use proxy_core::listen;
use rustix::net::{AddressFamily, SocketType, socket, sockopt};
use rustix::pipe::{SpliceFlags, pipe, splice};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};

use super::cgroup::Cgroup;
use super::parse::{self, Status, range, status};

/// What the kernel's files say. Absent: there is no such file, or it can't be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) release: String,
    pub(super) somaxconn: Option<u64>,
    pub(super) syn_backlog: Option<u64>,
    pub(super) syn_cookies: Option<u64>,
    pub(super) ports: Option<RangeInclusive<u16>>,
    /// The congestion control in force, and those that there are.
    pub(super) congestion: Option<String>,
    pub(super) available: String,
    pub(super) fast_open: Option<u64>,
    pub(super) migrate: Option<u64>,
    /// The stricter one of `all` and `default`.
    pub(super) rp_filter: Option<u64>,
    pub(super) unprivileged_from: Option<u64>,
    pub(super) nr_open: Option<u64>,
    pub(super) status: Status,
    pub(super) cgroup: Cgroup,
}

/// What was tried in this process.
#[derive(Debug)]
pub(super) struct Process {
    /// Whether a ring can be made for the workers; where it can, which operations are missing.
    pub(super) ring: Result<Vec<&'static str>, Unavailable>,
    /// Bytes of locked memory that Glommio needs for the workers.
    pub(super) memlock_needed: u64,
    /// None: no limit.
    pub(super) memlock: Option<u64>,
    /// The hard limit, which a start raises the soft one to.
    pub(super) files: Option<u64>,
    /// CPUs that it may use.
    pub(super) cpus: Vec<usize>,
    pub(super) reuse_port: Result<(), String>,
    pub(super) splice: Result<(), String>,
    pub(super) ipv6: Result<(), String>,
    /// Whether a listening socket can be told to take nobody any more.
    pub(super) stop: Result<(), String>,
}

impl Facts {
    /// From the files below a folder, which is `/`.
    pub(super) fn gather(root: &Path) -> Self {
        let read = |path: &str| {
            let text = fs::read_to_string(root.join("proc").join(path)).ok()?;
            Some(text.trim().to_owned())
        };
        let number = |path: &str| read(&format!("sys/{path}"))?.parse().ok();
        let rp_filter = ["all", "default"]
            .map(|name| number(&format!("net/ipv4/conf/{name}/rp_filter")))
            .into_iter()
            .flatten();
        Self {
            release: read("sys/kernel/osrelease").unwrap_or_default(),
            somaxconn: number("net/core/somaxconn"),
            syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
            syn_cookies: number("net/ipv4/tcp_syncookies"),
            ports: read("sys/net/ipv4/ip_local_port_range").and_then(|text| range(&text)),
            congestion: read("sys/net/ipv4/tcp_congestion_control"),
            available: read("sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default(),
            fast_open: number("net/ipv4/tcp_fastopen"),
            migrate: number("net/ipv4/tcp_migrate_req"),
            rp_filter: rp_filter.max(),
            unprivileged_from: number("net/ipv4/ip_unprivileged_port_start"),
            nr_open: number("fs/nr_open"),
            status: status(&read("self/status").unwrap_or_default()),
            cgroup: Cgroup::gather(root),
        }
    }

    pub(super) fn version(&self) -> Option<(u32, u32)> {
        parse::version(&self.release)
    }

    /// Whether the process has a capability, by its number.
    pub(super) fn has_capability(&self, number: u32) -> bool {
        self.status.capabilities >> number & 1 == 1
    }
}

impl Process {
    /// This process, for so many workers; none: one for each CPU.
    pub(super) fn own(workers: Option<usize>, ring_depth: u32) -> Self {
        let set = sched_getaffinity(None).ok();
        let cpus: Vec<_> = match &set {
            Some(set) => (0..CpuSet::MAX_CPU)
                .filter(|&cpu| set.is_set(cpu))
                .collect(),
            None => Vec::new(),
        };
        let workers = workers.unwrap_or(cpus.len()).max(1);
        let ring = backend_glommio::probe(workers, ring_depth)
            .and_then(|()| backend_glommio::missing_operations().map_err(Unavailable::Other));
        Self {
            ring,
            memlock_needed: backend_glommio::memlock_needed(workers, ring_depth),
            memlock: getrlimit(Resource::Memlock).current,
            files: getrlimit(Resource::Nofile).maximum,
            cpus,
            reuse_port: try_reuse_port().map_err(|error| error.to_string()),
            splice: try_splice().map_err(|error| error.to_string()),
            ipv6: try_ipv6().map_err(|error| error.to_string()),
            stop: try_stop().map_err(|error| error.to_string()),
        }
    }
}

fn try_reuse_port() -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    Ok(rustix::net::bind(
        &socket,
        &(Ipv4Addr::LOCALHOST, 0).into_socket(),
    )?)
}

fn try_ipv6() -> io::Result<()> {
    let socket = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
    Ok(rustix::net::bind(
        &socket,
        &(Ipv6Addr::LOCALHOST, 0).into_socket(),
    )?)
}

fn try_stop() -> io::Result<()> {
    listen::stop_taking(socket(AddressFamily::INET, SocketType::STREAM, None)?)
}

/// A byte, from one pipe to another.
fn try_splice() -> io::Result<()> {
    let ((from, input), (_output, to)) = (pipe()?, pipe()?);
    rustix::io::write(&input, &[0])?;
    splice(&from, None, &to, None, 1, SpliceFlags::NONBLOCK)?;
    Ok(())
}

/// An address for `bind`.
trait IntoSocket {
    fn into_socket(self) -> std::net::SocketAddr;
}

impl<I: Into<std::net::IpAddr>> IntoSocket for (I, u16) {
    fn into_socket(self) -> std::net::SocketAddr {
        self.into()
    }
}
