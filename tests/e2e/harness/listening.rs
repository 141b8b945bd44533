//! What a process listens on, by the kernel's own word.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

/// The addresses of its sockets that listen, each once: `127.0.0.1:80`, `[::]:80` (IPv6 only), `*:80` (both families), or
/// the path of a unix socket.
///
/// Descriptors are asked as if they were this process's, which parents and root may.
pub(crate) fn addresses(pid: u32) -> BTreeSet<String> {
    descriptors(pid).into_iter().collect()
}

/// The address of each of its descriptors of a socket that listens. Several may be of one socket.
pub(crate) fn descriptors(pid: u32) -> Vec<String> {
    let process = Pid::from_raw(pid as i32).expect("a pid isn't 0");
    let process = pidfd_open(process, PidfdFlags::empty()).expect("it runs");
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("fd");
    let sockets = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        is_socket(&path).then_some(())?;
        let number: RawFd = path.file_name()?.to_str()?.parse().ok()?;
        // It may be closed by now.
        pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()
    });
    let listening = sockets.filter_map(|socket| {
        let socket = SockRef::from(&socket);
        socket.is_listener().ok()?.then(|| address(&socket))
    });
    listening.collect()
}

/// How many connections wait at an address of IPv4 until somebody accepts them, over all sockets that listen there.
pub(crate) fn waiting(address: SocketAddr) -> usize {
    const LISTENS: &str = "0A";
    let IpAddr::V4(ip) = address.ip() else {
        panic!("{address} is none of IPv4");
    };
    let ip = u32::from_ne_bytes(ip.octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("the table");
    let lines = table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_its = fields[1] == local && fields[3] == LISTENS;
        let (_, received) = is_its.then(|| fields[4].split_once(':')).flatten()?;
        usize::from_str_radix(received, 16).ok()
    });
    lines.sum()
}

fn is_socket(entry: &Path) -> bool {
    let target = fs::read_link(entry);
    target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
}

fn address(socket: &SockRef<'_>) -> String {
    let address = socket.local_addr().expect("getsockname");
    if let Some(path) = address.as_pathname() {
        return path.display().to_string();
    }
    let Some(address) = address.as_socket() else {
        return "a socket of no name".to_owned();
    };
    let both = address.is_ipv6() && !socket.only_v6().expect("getsockopt");
    if both && address.ip().is_unspecified() {
        format!("*:{}", address.port())
    } else {
        address.to_string()
    }
}
