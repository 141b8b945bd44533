//! Sockets as every hand-made relay here wants them: non-blocking, without Nagle's delay.

use std::io;
use std::net::SocketAddr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, connect, socket_with};
use socket2::{Domain, Socket, Type};

/// The accept queue's length.
pub(crate) const BACKLOG: i32 = 4096;
/// Flags of every socket.
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A listener that has its address for itself.
pub(crate) fn listener(address: SocketAddr) -> io::Result<OwnedFd> {
    bind(address, false)
}

/// A listener; others may be at the same address where it is `shared` by them all.
pub(crate) fn bind(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The next connection that waits, if any does.
pub(crate) fn accept(listener: impl AsFd) -> io::Result<Option<OwnedFd>> {
    match accept_with(listener, FLAGS) {
        Ok(socket) => {
            set_tcp_nodelay(&socket, true)?;
            Ok(Some(socket))
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A socket that connects to `address`; until it has, it is not writable, and that is all that one need know.
pub(crate) fn connecting(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
    set_tcp_nodelay(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
