//! Listening sockets: made here for every scheduler, and handed to workers.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, Type};

use crate::transport::Descriptor;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// TCP; port 0 lets the kernel choose. `[::]` is IPv6 only.
    Tcp(SocketAddr),
    /// TCP on every address of the machine, IPv4 and IPv6, at this port.
    Every(u16),
    /// A unix stream socket at this path.
    Unix(PathBuf),
}

impl BindAddress {
    /// The port; none for a unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Every(port) => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// Where a client on this machine connects to; none for a unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) if !address.ip().is_unspecified() => Some(*address),
            Self::Tcp(address) if address.is_ipv6() => {
                Some((Ipv6Addr::LOCALHOST, address.port()).into())
            }
            Self::Tcp(address) => Some((Ipv4Addr::LOCALHOST, address.port()).into()),
            Self::Every(port) => Some((Ipv4Addr::LOCALHOST, *port).into()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Every(port) => write!(f, "*:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Sockets that listen on one address.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that the kernel chose. [`BindAddress::Every`] is 0.0.0.0 where the kernel has no
    /// IPv6.
    pub address: BindAddress,
    /// As many as were asked for.
    pub sockets: Vec<Descriptor>,
    /// The file of a unix socket.
    pub file: Option<SocketFile>,
}

/// An address that is taken, and not listened on yet: clients are refused, and none can be accepted and then cut.
#[derive(Debug)]
pub struct Reserved {
    address: BindAddress,
    sockets: Vec<Socket>,
    file: Option<SocketFile>,
    /// Keeps other starts from taking the file for one that is left behind, until it is listened on.
    claim: Option<Socket>,
}

/// The file of a unix socket that this process bound. Dropping it removes the file, unless the path has become
/// somebody else's: it then has another device or inode.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// As long as it is open, no other file gets its inode.
    own: OwnedFd,
}

/// Listens on `address` with `count` sockets, among which the kernel spreads connections.
///
/// # Errors
/// As [`reserve`] and [`Reserved::listen`].
pub fn bind(address: &BindAddress, backlog: u16, count: usize) -> io::Result<Bound> {
    reserve(address, count)?.listen(backlog)
}

/// Takes `address` for `count` sockets, which don't listen yet.
///
/// TCP sockets share the port by SO_REUSEPORT, but only among themselves: a second process that binds the same
/// address is told so, instead of silently taking half of the connections. Unix sockets have no such spreading:
/// the `count` descriptors are one socket.
///
/// # Errors
/// What `bind(2)` returns: `AddrInUse` when somebody else listens there.
pub fn reserve(address: &BindAddress, count: usize) -> io::Result<Reserved> {
    match address {
        BindAddress::Tcp(address) => reserve_tcp(*address, Families::Own, count),
        BindAddress::Every(port) => reserve_every(*port, count),
        BindAddress::Unix(path) => reserve_unix(path, count),
    }
}

impl Reserved {
    /// The address, with the port that the kernel chose.
    pub fn address(&self) -> &BindAddress {
        &self.address
    }

    /// Its sockets, to be looked at.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Its only socket, for who listens in a way of its own: nobody shares the port.
    ///
    /// # Errors
    /// What `setsockopt(2)` returns.
    ///
    /// # Panics
    /// If it was reserved for several sockets, or none.
    pub fn into_socket(self) -> io::Result<OwnedFd> {
        let [socket] = <[Socket; 1]>::try_from(self.sockets).expect("it was reserved for one");
        socket.set_reuse_port(false)?;
        Ok(socket.into())
    }

    /// Listens: from now on the kernel takes connections.
    ///
    /// # Errors
    /// What `listen(2)` returns: `AddrInUse` when somebody else was faster since [`reserve`].
    pub fn listen(self, backlog: u16) -> io::Result<Bound> {
        let shares_port = self.file.is_none();
        let mut listening = self.sockets.iter();
        if let Some(first) = listening.next() {
            // Alone, so that it is told when another process listens here, be it with SO_REUSEPORT; then the others
            // may join.
            if shares_port {
                first.set_reuse_port(false)?;
            }
            first.listen(backlog.into())?;
            if shares_port {
                first.set_reuse_port(true)?;
            }
        }
        // The descriptors of a unix socket are one socket, which listens already.
        for socket in listening.filter(|_| shares_port) {
            socket.listen(backlog.into())?;
        }
        let descriptor = if shares_port {
            Descriptor::tcp
        } else {
            Descriptor::unix
        };
        drop(self.claim);
        let sockets = self.sockets.into_iter();
        let sockets = sockets.map(|socket| descriptor(socket.into()));
        Ok(Bound {
            address: self.address,
            sockets: sockets.collect(),
            file: self.file,
        })
    }
}

/// What a socket for IPv6 takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    /// IPv6 only: "[::]:80" and "0.0.0.0:80" are two addresses, on any system's setting.
    Own,
    /// IPv4, too, whose clients have addresses such as ::ffff:10.0.0.1.
    Both,
}

/// One socket of both families, so that there is one queue and one limit. A kernel that was started without IPv6 has no
/// such socket, and no address that 0.0.0.0 leaves out.
fn reserve_every(port: u16, count: usize) -> io::Result<Reserved> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match reserve_tcp(address, Families::Both, count) {
        Err(error) if is_unsupported_family(&error) => {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            reserve_tcp(address, Families::Own, count)
        }
        result => result,
    }
}

fn is_unsupported_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn reserve_tcp(address: SocketAddr, families: Families, count: usize) -> io::Result<Reserved> {
    // The first bind is exclusive: it fails if anybody listens on the port, be it with SO_REUSEPORT. Only then may the
    // others join.
    let first = tcp_socket(address, families)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = tcp_socket(address, families)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        sockets.push(socket);
    }
    Ok(Reserved {
        address: match families {
            Families::Own => BindAddress::Tcp(address),
            Families::Both => BindAddress::Every(address.port()),
        },
        sockets,
        file: None,
        claim: None,
    })
}

fn tcp_socket(address: SocketAddr, families: Families) -> io::Result<Socket> {
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
    // So does this: a client that vanished without a word is found out, by the system's `net.ipv4.tcp_keepalive_*`.
    socket.set_keepalive(true)?;
    Ok(socket)
}

fn reserve_unix(path: &Path, count: usize) -> io::Result<Reserved> {
    let address = SockAddr::unix(path)?;
    let claim = claim(path)?;
    let new = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None);
    let socket = new()?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &new()?) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    let file = SocketFile::of(path)?;
    let mut sockets = vec![socket];
    for _ in 1..count {
        sockets.push(sockets[0].try_clone()?);
    }
    Ok(Reserved {
        address: BindAddress::Unix(path.to_owned()),
        sockets,
        file: Some(file),
        claim,
    })
}

/// Claims a path among the starts of this network namespace, by a socket in the abstract namespace. Its name holds the
/// directory's inode, so that it is the same by whatever way the path leads there. None when a user who has no say in
/// it holds the name: then there is no claim.
///
/// # Errors
/// `AddrInUse` when another start of this user, or of root, holds it.
fn claim(path: &Path) -> io::Result<Option<Socket>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = std::fs::metadata(directory)?;
    let mut name = DefaultHasher::new();
    path.file_name().hash(&mut name);
    let address = SockAddr::unix(format!(
        "\0corelane-bind-{:x}-{:x}-{:x}",
        directory.dev(),
        directory.ino(),
        name.finish()
    ))?;
    let new = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None);
    let claim = new()?;
    match claim.bind(&address) {
        Ok(()) => {
            claim.listen(1)?;
            Ok(Some(claim))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = new()?;
            let connected = holder.connect(&address);
            let is_strange = connected.is_ok()
                && socket_peercred(&holder)
                    .is_ok_and(|holder| !holder.uid.is_root() && holder.uid != geteuid());
            if is_strange { Ok(None) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            own: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    fn is_own(&self) -> rustix::io::Result<bool> {
        let own = rustix::fs::fstat(&self.own)?;
        let now = rustix::fs::lstat(&self.path)?;
        Ok((own.st_dev, own.st_ino) == (now.st_dev, now.st_ino))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_own() == Ok(true) {
            // Somebody may be faster. A file that can't be removed is stale for who binds next.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Has a listening socket take nobody any more, and keep those who wait in its backlog: they can still be accepted.
/// It works through any descriptor of the socket.
///
/// TCP: a filter drops the SYNs of new clients, which come again until the socket is closed, and are refused then.
/// A handshake that has begun is completed. A connection that is made of it inherits the filter, which drops nothing
/// that a live connection gets. Unix: new clients are refused.
///
/// # Errors
/// What `setsockopt(2)` or `shutdown(2)` returns. Then the kernel goes on taking clients until the socket is closed.
pub fn stop_taking(socket: impl AsFd) -> io::Result<()> {
    /// The byte of the TCP header that holds the flags.
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    const KEEP: u32 = u32::MAX;
    const DROP: u32 = 0;
    // Classic BPF; the names are those of the kernel's filter documentation.
    const LDB_ABSOLUTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let socket = SockRef::from(&socket);
    if socket.local_addr()?.is_unix() {
        return socket.shutdown(Shutdown::Read);
    }
    socket.attach_filter(&[
        SockFilter::new(LDB_ABSOLUTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(AND, 0, 0, SYN_AND_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, DROP),
        SockFilter::new(RETURN, 0, 0, KEEP),
    ])
}

/// Whether a socket file is left from a process that is gone.
fn is_stale(path: &Path, probe: &Socket) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && SockAddr::unix(path)
            .and_then(|address| probe.connect(&address))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

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

    /// Whether this machine has IPv6; tests that need it say that they are skipped.
    fn has_ipv6() -> bool {
        let has = std::net::TcpListener::bind("[::1]:0").is_ok();
        if !has {
            println!("skipped: this machine has no IPv6 loopback");
        }
        has
    }

    #[test]
    fn every_address_is_both_families_on_one_port() {
        if !has_ipv6() {
            return;
        }
        let bound = bind(&BindAddress::Every(0), 16, 3).unwrap();
        let BindAddress::Every(port) = bound.address else {
            panic!("{} is not what was asked for", bound.address);
        };
        assert_ne!(port, 0);
        for client in ["127.0.0.1", "127.0.0.2", "::1"] {
            let client: std::net::IpAddr = client.parse().unwrap();
            TcpStream::connect((client, port)).expect("it listens");
        }
        // Nobody else has a part of it.
        for taken in ["0.0.0.0", "127.0.0.1", "::", "::1"] {
            let address = SocketAddr::new(taken.parse().unwrap(), port);
            let error = bind(&BindAddress::Tcp(address), 16, 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{taken}");
        }
    }

    #[test]
    fn every_ipv6_address_leaves_ipv4_alone() {
        if !has_ipv6() {
            return;
        }
        let bound = bind(&BindAddress::Tcp((Ipv6Addr::UNSPECIFIED, 0).into()), 16, 2).unwrap();
        let BindAddress::Tcp(address) = bound.address else {
            panic!("{} is not what was asked for", bound.address);
        };
        TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).expect("it listens");
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).expect_err("that is IPv4");
    }

    #[test]
    fn a_client_on_this_machine_finds_each() {
        for (address, local) in [
            (
                BindAddress::Tcp(([10, 0, 0, 1], 7).into()),
                Some("10.0.0.1:7"),
            ),
            (
                BindAddress::Tcp((Ipv4Addr::UNSPECIFIED, 7).into()),
                Some("127.0.0.1:7"),
            ),
            (
                BindAddress::Tcp((Ipv6Addr::UNSPECIFIED, 7).into()),
                Some("[::1]:7"),
            ),
            (BindAddress::Every(7), Some("127.0.0.1:7")),
            (BindAddress::Unix(PathBuf::from("/a")), None),
        ] {
            let found = address.local().map(|local| local.to_string());
            assert_eq!(found.as_deref(), local, "{address}");
        }
    }

    #[test]
    fn who_waits_is_kept_and_nobody_else_is_taken() {
        let path = std::env::temp_dir().join(format!("corelane-taking-{}", std::process::id()));
        for address in [any(), BindAddress::Unix(path.clone())] {
            let bound = bind(&address, 16, 1).unwrap();
            let (domain, address) = match &bound.address {
                BindAddress::Tcp(address) => (Domain::IPV4, SockAddr::from(*address)),
                BindAddress::Unix(path) => (Domain::UNIX, SockAddr::unix(path).unwrap()),
                BindAddress::Every(_) => unreachable!("it was not asked for"),
            };
            let connect = || {
                let client = Socket::new(domain, Type::STREAM, None).unwrap();
                let timeout = std::time::Duration::from_millis(50);
                client.connect_timeout(&address, timeout).map(|()| client)
            };
            let waiting = connect().unwrap();
            stop_taking(&bound.sockets[0]).unwrap();
            connect().unwrap_err();
            let (accepted, _) = SockRef::from(&bound.sockets[0]).accept().unwrap();
            waiting.send(b"hello").unwrap();
            let mut text = [std::mem::MaybeUninit::uninit(); 8];
            accepted.set_nonblocking(false).unwrap();
            assert_eq!(accepted.recv(&mut text).unwrap(), 5);
            assert!(SockRef::from(&bound.sockets[0]).accept().is_err());
        }
    }

    #[test]
    fn a_reserved_port_refuses_clients_until_it_listens() {
        let reserved = reserve(&any(), 2).unwrap();
        let BindAddress::Tcp(address) = *reserved.address() else {
            unreachable!("it was asked for TCP");
        };
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _bound = reserved.listen(16).unwrap();
        TcpStream::connect(address).unwrap();
    }

    /// Both may bind as long as neither listens; a port is never shared with another proxy.
    #[test]
    fn of_two_that_reserved_a_port_one_listens() {
        let first = reserve(&any(), 2).unwrap();
        let second = reserve(first.address(), 2).unwrap();
        let _bound = first.listen(16).unwrap();
        let error = second.listen(16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn all_sockets_of_a_port_get_connections() {
        const CLIENTS: usize = 64;
        let bound = bind(&any(), 128, 2).unwrap();
        let BindAddress::Tcp(address) = bound.address else {
            unreachable!("it was asked for TCP");
        };
        let _clients: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let accepted = bound
            .sockets
            .iter()
            .map(|socket| std::iter::from_fn(|| rustix::net::accept(socket).ok()).count());
        let accepted: Vec<_> = accepted.collect();
        assert_eq!(accepted.iter().sum::<usize>(), CLIENTS);
        assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
    }

    fn socket_path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("corelane-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_socket_file_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
        let path = socket_path("stale");
        let address = BindAddress::Unix(path.clone());
        let mut bound = bind(&address, 16, 2).unwrap();
        let error = bind(&address, 16, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // One that is killed removes nothing.
        std::mem::forget(bound.file.take());
        drop(bound);
        assert!(path.exists());
        drop(bind(&address, 16, 1).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_another_start_has_reserved_is_not_taken_for_stale() {
        let path = socket_path("reserved");
        let address = BindAddress::Unix(path.clone());
        let first = reserve(&address, 1).unwrap();
        // The same directory by another way.
        let around = path
            .parent()
            .unwrap()
            .join(".")
            .join(path.file_name().unwrap());
        for path in [&path, &around] {
            let error = reserve(&BindAddress::Unix(path.clone()), 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        let bound = first.listen(16).unwrap();
        let error = reserve(&address, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(bound);
        // One that failed leaves no claim.
        drop(reserve(&address, 1).unwrap());
        drop(bind(&address, 16, 1).unwrap());
    }

    #[test]
    fn a_socket_file_that_another_bound_since_stays() {
        let path = socket_path("taken-over");
        let address = BindAddress::Unix(path.clone());
        let mut old = bind(&address, 16, 1).unwrap();
        let file = old.file.take();
        drop(old);
        let new = bind(&address, 16, 1).unwrap();
        drop(file);
        assert!(path.exists());
        drop(new);
        assert!(!path.exists());
    }
}
