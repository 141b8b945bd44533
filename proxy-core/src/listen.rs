//! Listening sockets: made here for every scheduler, and handed to workers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::transport::Descriptor;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// TCP; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A unix stream socket at this path.
    Unix(PathBuf),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Sockets that listen on one address.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that the kernel chose.
    pub address: BindAddress,
    /// As many as were asked for.
    pub sockets: Vec<Descriptor>,
}

/// Listens on `address` with `count` sockets, among which the kernel spreads connections.
///
/// TCP sockets share the port by SO_REUSEPORT, but only among themselves: a second process that binds the same
/// address is told so, instead of silently taking half of the connections. Unix sockets have no such spreading:
/// the `count` descriptors are one socket.
///
/// # Errors
/// What `bind(2)` and `listen(2)` return: `AddrInUse` when somebody else listens there.
pub fn bind(address: &BindAddress, backlog: u16, count: usize) -> io::Result<Bound> {
    match address {
        BindAddress::Tcp(address) => bind_tcp(*address, backlog, count),
        BindAddress::Unix(path) => bind_unix(path, backlog, count),
    }
}

fn bind_tcp(address: SocketAddr, backlog: u16, count: usize) -> io::Result<Bound> {
    // The first bind is exclusive: it fails if anybody has the port, be it with SO_REUSEPORT. Only then may the
    // others join. All are bound before any listens, so that none gets connections alone.
    let first = tcp_socket(address)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = tcp_socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        sockets.push(socket);
    }
    for socket in &sockets {
        socket.listen(backlog.into())?;
    }
    Ok(Bound {
        address: BindAddress::Tcp(address),
        sockets: sockets.into_iter().map(descriptor).collect(),
    })
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        None,
    )?;
    // Connections in TIME_WAIT must not keep a restart from listening.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // "[::]:80" and "0.0.0.0:80" are two addresses, on any system's setting.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it, which saves a call each.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn bind_unix(path: &Path, backlog: u16, count: usize) -> io::Result<Bound> {
    let address = SockAddr::unix(path)?;
    let new = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None);
    let socket = new()?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &new()?) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    socket.listen(backlog.into())?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 1..count {
        sockets.push(descriptor(socket.try_clone()?));
    }
    sockets.push(descriptor(socket));
    Ok(Bound {
        address: BindAddress::Unix(path.to_owned()),
        sockets,
    })
}

/// Whether a socket file is left from a process that is gone.
fn is_stale(path: &Path, probe: &Socket) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && SockAddr::unix(path)
            .and_then(|address| probe.connect(&address))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn descriptor(socket: Socket) -> Descriptor {
    Descriptor::new(OwnedFd::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> BindAddress {
        BindAddress::Tcp(([127, 0, 0, 1], 0).into())
    }

    #[test]
    fn several_sockets_share_a_port_that_the_kernel_chose() {
        let bound = bind(&any(), 16, 3).unwrap();
        assert_eq!(bound.sockets.len(), 3);
        assert!(matches!(bound.address, BindAddress::Tcp(address) if address.port() != 0));
    }

    #[test]
    fn a_port_that_another_has_is_an_error_despite_reuseport() {
        let bound = bind(&any(), 16, 2).unwrap();
        let error = bind(&bound.address, 16, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_socket_file_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
        let path = std::env::temp_dir().join(format!("corelane-listen-{}", std::process::id()));
        let address = BindAddress::Unix(path.clone());
        let bound = bind(&address, 16, 2).unwrap();
        let error = bind(&address, 16, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        bind(&address, 16, 1).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
