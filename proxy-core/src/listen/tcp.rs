//! Sockets that listen on TCP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use super::address::BindAddress;
use super::reserved::Reserved;
use crate::socket_options::{ListenOptions, Packets};
use crate::transport::Descriptor;

/// How addresses are taken.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) count: usize,
    /// Beside sockets of this process on the same port.
    pub(super) is_beside: bool,
    pub(super) options: &'a ListenOptions,
}

/// What a socket for IPv6 takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    /// IPv6 only: "[::]:80" and "0.0.0.0:80" are two addresses, on any system's setting.
    Own,
    /// IPv4, too, whose clients have addresses such as ::ffff:10.0.0.1.
    Both,
}

/// One socket of both families, so that there is one queue and one limit. A kernel that was started without IPv6 has no
/// such socket, and no address that 0.0.0.0 leaves out.
pub(super) fn reserve_every(port: u16, terms: Terms<'_>) -> io::Result<Reserved> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match reserve_tcp(address, Families::Both, terms) {
        Err(error) if is_unsupported_family(&error) => {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            reserve_tcp(address, Families::Own, terms)
        }
        result => result,
    }
}

/// One more socket for a port that others listen on.
pub(super) fn join_tcp(
    address: SocketAddr,
    families: Families,
    options: &ListenOptions,
) -> io::Result<Descriptor> {
    let socket = tcp_socket(address, families, options)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(Descriptor::tcp(socket.into()))
}

fn is_unsupported_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

pub(super) fn reserve_tcp(
    address: SocketAddr,
    families: Families,
    terms: Terms<'_>,
) -> io::Result<Reserved> {
    let Terms {
        count,
        is_beside,
        options,
    } = terms;
    // The first bind is exclusive: it fails if anybody listens on the port, be it with SO_REUSEPORT. Only then may the
    // others join. Beside others of this process it can't be.
    let first = tcp_socket(address, families, options)?;
    first.set_reuse_port(is_beside)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = tcp_socket(address, families, options)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        sockets.push(socket);
    }
    Ok(Reserved {
        address: match families {
            Families::Own => BindAddress::Tcp(address),
            Families::Both => BindAddress::Every(address.port()),
        },
        distinct: sockets.len(),
        sockets,
        file: None,
        is_beside,
        claim: None,
        listening: 0,
        is_lent: false,
    })
}

fn tcp_socket(
    address: SocketAddr,
    families: Families,
    options: &ListenOptions,
) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        None,
    )?;
    // Connections in TIME_WAIT must not keep a restart from listening.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(families == Families::Own)?;
    }
    // Accepted sockets inherit it, which saves a call each.
    socket.set_tcp_nodelay(true)?;
    // And these. Without any, a client that vanished without a word is found out, by the system's
    // `net.ipv4.tcp_keepalive_*`.
    let packets = match (address, families) {
        (SocketAddr::V4(_), _) => Packets::V4,
        (SocketAddr::V6(_), Families::Own) => Packets::V6,
        (SocketAddr::V6(_), Families::Both) => Packets::Both,
    };
    options.set(&socket, packets)?;
    Ok(socket)
}
