//! Listening sockets: made here for every scheduler, and handed to workers.

mod address;
mod file;
mod inherited;
mod reserved;
mod steer;
mod stop;
mod tcp;
mod unix;

pub use self::address::BindAddress;
pub use self::file::SocketFile;
pub use self::inherited::{address_of, inherit, interface_of};
pub use self::reserved::{Bound, Reserved};
pub use self::steer::steer;
pub use self::stop::{stop_taking, take_again};

use std::io;

use self::tcp::{Families, Terms, join_tcp, reserve_every, reserve_tcp};
use self::unix::{check_unix, reserve_unix, reserve_unix_beside};
use crate::socket_options::ListenOptions;
use crate::transport::Descriptor;

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
    reserve_with(address, count, &ListenOptions::default())
}

/// As [`reserve`], with options for sockets of TCP; unix sockets have none.
///
/// # Errors
/// As there; and what `setsockopt(2)` returns. Who wants to know of which option tries them out before
/// ([`ListenOptions::try_out`]).
pub fn reserve_with(
    address: &BindAddress,
    count: usize,
    options: &ListenOptions,
) -> io::Result<Reserved> {
    let terms = Terms {
        count,
        is_beside: false,
        options,
    };
    reserve_on(address, terms)
}

/// As [`reserve_with`], beside sockets of this process.
///
/// TCP: those that listen on the same port at an address that overlaps, as 127.0.0.1 and 0.0.0.0 do. A client goes to the
/// narrower of the two, while there is one. Other processes of the same user that share the port are not found out. Unix: the
/// one whose file is at the path. Clients find that file until [`SocketFile::settle`] puts the new one there.
///
/// # Errors
/// As there: of other users, and of those that don't share the port.
pub fn reserve_beside(
    address: &BindAddress,
    count: usize,
    options: &ListenOptions,
) -> io::Result<Reserved> {
    let terms = Terms {
        count,
        is_beside: true,
        options,
    };
    reserve_on(address, terms)
}

fn reserve_on(address: &BindAddress, terms: Terms<'_>) -> io::Result<Reserved> {
    match address {
        BindAddress::Tcp(address) => reserve_tcp(*address, Families::Own, terms),
        BindAddress::Every(port) => reserve_every(*port, terms),
        BindAddress::Unix(path) if terms.is_beside => reserve_unix_beside(path, terms.count),
        BindAddress::Unix(path) => reserve_unix(path, terms.count),
    }
}

/// Whether `address` can be taken, as far as that shows without anybody noticing. A port is taken for a moment and not listened
/// on; of a path it is only known whether its directory can be written to, and that no other kind of file is there.
///
/// # Errors
/// As [`reserve_with`].
pub fn check(address: &BindAddress, options: &ListenOptions) -> io::Result<()> {
    match address {
        BindAddress::Unix(path) => check_unix(path),
        BindAddress::Tcp(_) | BindAddress::Every(_) => reserve_with(address, 1, options).map(drop),
    }
}

/// One more socket beside those that listen on `address`, which is that of a [`Bound`] of TCP. It doesn't listen yet.
///
/// # Errors
/// What `setsockopt(2)` and `bind(2)` return. A unix socket can't be joined: `Unsupported`.
pub fn join(address: &BindAddress, options: &ListenOptions) -> io::Result<Descriptor> {
    match address {
        BindAddress::Tcp(address) => join_tcp(*address, Families::Own, options),
        BindAddress::Every(port) => {
            let address = (std::net::Ipv6Addr::UNSPECIFIED, *port).into();
            join_tcp(address, Families::Both, options)
        }
        BindAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
    use std::path::PathBuf;

    use socket2::{Domain, SockAddr, SockRef, Socket, Type};

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
    fn a_socket_file_takes_the_place_of_one_of_ours_at_one_stroke() {
        let path = socket_path("beside");
        let address = BindAddress::Unix(path.clone());
        let old = bind(&address, 16, 1).unwrap();
        let mut new = reserve_beside(&address, 1, &ListenOptions::default())
            .unwrap()
            .listen(16)
            .unwrap();
        let connect = || std::os::unix::net::UnixStream::connect(&path).unwrap();
        let waits = |bound: &Bound| rustix::net::accept(&bound.sockets[0]).is_ok();
        let _early = connect();
        assert!(waits(&old) && !waits(&new));
        let file = new.file.as_mut().unwrap();
        let aside = file.path_now().to_owned();
        assert!(aside.exists() && !file.is_found());
        file.settle().unwrap();
        assert!(file.is_found() && !aside.exists());
        assert!(!old.file.as_ref().unwrap().is_found());
        drop(old);
        let _late = connect();
        assert!(waits(&new));
        drop(new);
        assert!(!path.exists());
        // One that is not to be leaves nothing.
        let old = bind(&address, 16, 1).unwrap();
        drop(reserve_beside(&address, 1, &ListenOptions::default()).unwrap());
        let _again = connect();
        assert!(waits(&old));
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
