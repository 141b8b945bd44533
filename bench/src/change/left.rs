//! The connections that a process still serves.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;

use rustix::process::Pid;

/// The state of an established connection in /proc/net/tcp.
const ESTABLISHED: &str = "01";

/// Connections that clients have with `pid` at `listens`; none with a process that has ended.
pub(super) fn with(pid: Pid, listens: &[SocketAddr]) -> usize {
    let pid = pid.as_raw_pid();
    // In the process's network, which is not this one's where it has one of its own.
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let ports: Vec<u16> = listens.iter().map(SocketAddr::port).collect();
    let accepted: HashSet<&str> = table
        .lines()
        .filter_map(|line| accepted(line, &ports))
        .collect();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
    let links = (descriptors.into_iter().flatten().flatten())
        .filter_map(|one| fs::read_link(one.path()).ok());
    links
        .filter(|link| {
            let name = link.to_string_lossy();
            let inode = name.strip_prefix("socket:[");
            inode.is_some_and(|inode| accepted.contains(inode.trim_end_matches(']')))
        })
        .count()
}

/// The inode of an established connection at one of `ports`.
fn accepted<'a>(line: &'a str, ports: &[u16]) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    let (_, port) = words.nth(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = words.nth(1)?;
    (state == ESTABLISHED && ports.contains(&port)).then(|| words.nth(5))?
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn this_process_has_the_connections_that_it_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let pid = rustix::process::getpid();
        let _clients = [0; 3].map(|_| TcpStream::connect(address).unwrap());
        let mut accepted: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        assert_eq!(with(pid, &[address]), 3);
        accepted.pop();
        assert_eq!(with(pid, &[address]), 2);
        assert_eq!(with(pid, &[other.local_addr().unwrap()]), 0);
    }
}
