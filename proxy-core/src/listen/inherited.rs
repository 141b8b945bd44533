//! Sockets that listen already when the process starts: whoever ran before it, or started it, has kept them open.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};
use socket2::{SockRef, Socket, Type};

use super::address::BindAddress;
use super::file::SocketFile;
use super::reserved::Reserved;
use super::tcp::{Families, join_tcp};
use crate::socket_options::ListenOptions;

/// Where a socket listens, if it does: on TCP, or at a path.
///
/// # Errors
/// `InvalidInput` for any other descriptor, and what `getsockopt(2)` and `getsockname(2)` return.
pub fn address_of(socket: impl AsFd) -> io::Result<BindAddress> {
    let socket = SockRef::from(&socket);
    let refuse = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return refuse("it is no stream socket that listens");
    }
    let address = socket.local_addr()?;
    if let Some(path) = address.as_pathname() {
        return Ok(BindAddress::Unix(path.to_owned()));
    }
    match address.as_socket() {
        Some(address) if address.is_ipv6() && address.ip().is_unspecified() => {
            Ok(match socket.only_v6()? {
                true => BindAddress::Tcp(address),
                false => BindAddress::Every(address.port()),
            })
        }
        Some(address) => Ok(BindAddress::Tcp(address)),
        None => refuse("it listens neither on TCP nor at a path"),
    }
}

/// The interface by which the clients of a socket come, if that is set (`SO_BINDTODEVICE`).
pub fn interface_of(socket: impl AsFd) -> Option<String> {
    let device = SockRef::from(&socket).device().ok()?;
    String::from_utf8(device?).ok()
}

/// Takes sockets that listen on `address`, as [`address_of`] says, so that there are `count` at least; clients may wait at each.
///
/// Where the kernel lets no other socket join them, as they belong to another user or don't share the port, some of the `count` are
/// descriptors of the same socket. One that `is_lent` is another process's, which goes on listening when this one has closed it: so
/// the file of a unix socket isn't this process's, as it is else.
///
/// # Errors
/// When an option can't be set, or there is no descriptor left.
pub fn inherit(
    address: BindAddress,
    sockets: Vec<OwnedFd>,
    count: usize,
    options: &ListenOptions,
    is_lent: bool,
) -> io::Result<Reserved> {
    let mut sockets: Vec<Socket> = sockets.into_iter().map(Socket::from).collect();
    for socket in &sockets {
        socket.set_nonblocking(true)?;
        fcntl_setfd(socket, FdFlags::CLOEXEC)?;
        // That of a process that stopped taking clients.
        let _ = socket.detach_filter();
    }
    let mut file = None;
    if let BindAddress::Unix(path) = &address {
        sockets.truncate(1);
        if !is_lent {
            file = SocketFile::of(path).ok();
        }
    } else {
        for socket in &sockets {
            socket.set_tcp_nodelay(true)?;
            options.change(&ListenOptions::default(), socket, &address)?;
        }
    }
    let listening = sockets.len();
    let missing = count.saturating_sub(listening);
    let joining = match &address {
        // Who came to one that joined would be reset at the end, instead of waiting for the next process.
        _ if is_lent => None,
        BindAddress::Unix(_) => None,
        BindAddress::Tcp(_) | BindAddress::Every(_) if missing == 0 => Some(Vec::new()),
        BindAddress::Tcp(_) | BindAddress::Every(_) => {
            let shares = sockets.iter().try_for_each(|one| one.set_reuse_port(true));
            let join = || join(&address, options);
            let joining = shares.and_then(|()| (0..missing).map(|_| join()).collect());
            joining.ok()
        }
    };
    let distinct = match joining {
        Some(joining) => {
            sockets.extend(joining);
            sockets.len()
        }
        None => {
            for place in 0..missing {
                sockets.push(sockets[place % listening].try_clone()?);
            }
            listening
        }
    };
    Ok(Reserved {
        address,
        sockets,
        file,
        is_beside: false,
        claim: None,
        listening,
        distinct,
        is_lent,
    })
}

fn join(address: &BindAddress, options: &ListenOptions) -> io::Result<Socket> {
    let descriptor = match address {
        BindAddress::Tcp(address) => join_tcp(*address, Families::Own, options)?,
        BindAddress::Every(port) => {
            let every = (std::net::Ipv6Addr::UNSPECIFIED, *port).into();
            join_tcp(every, Families::Both, options)?
        }
        BindAddress::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    Ok(OwnedFd::from(descriptor).into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    fn accepted(bound: &super::super::Bound) -> usize {
        let accept = |socket| std::iter::from_fn(move || rustix::net::accept(socket).ok()).count();
        bound.sockets.iter().map(accept).sum()
    }

    #[test]
    fn who_waits_at_an_inherited_socket_is_accepted_and_others_join_it() {
        let old = super::super::bind(&BindAddress::Tcp(([127, 0, 0, 1], 0).into()), 16, 2).unwrap();
        let BindAddress::Tcp(address) = old.address else {
            unreachable!("it was asked for TCP");
        };
        let _early: Vec<_> = (0..8).map(|_| TcpStream::connect(address)).collect();
        for socket in &old.sockets {
            super::super::stop_taking(socket).unwrap();
        }
        let kept = old.sockets.into_iter().map(OwnedFd::from);
        let kept: Vec<_> = kept.collect();
        let found = address_of(&kept[0]).unwrap();
        assert_eq!(found, BindAddress::Tcp(address));
        let options = ListenOptions::default();
        let reserved = inherit(found, kept, 4, &options, false).unwrap();
        assert_eq!((reserved.listening, reserved.distinct), (2, 4));
        let bound = reserved.listen(32).unwrap();
        assert_eq!(accepted(&bound), 8);
        let _late: Vec<_> = (0..64).map(|_| TcpStream::connect(address)).collect();
        assert_eq!(accepted(&bound), 64);
    }

    /// As one of systemd's is for a service with a user of its own.
    #[test]
    fn a_socket_that_none_may_join_is_shared() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root has sockets of two users");
            return;
        }
        let nobody = rustix::thread::Uid::from_raw(65534);
        let bind = move || {
            rustix::thread::set_thread_uid(nobody).unwrap();
            TcpListener::bind("127.0.0.1:0").unwrap()
        };
        let listener = std::thread::spawn(bind).join().unwrap();
        let address = listener.local_addr().unwrap();
        let found = address_of(&listener).unwrap();
        let options = ListenOptions::default();
        let reserved = inherit(found, vec![listener.into()], 3, &options, false).unwrap();
        assert_eq!((reserved.sockets.len(), reserved.distinct), (3, 1));
        let bound = reserved.listen(16).unwrap();
        let _clients: Vec<_> = (0..9).map(|_| TcpStream::connect(address)).collect();
        assert_eq!(accepted(&bound), 9);
    }

    #[test]
    fn the_file_of_an_inherited_socket_goes_with_who_takes_it() {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("corelane-inherited-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        let found = address_of(&listener).unwrap();
        assert_eq!(found, BindAddress::Unix(path.clone()));
        let options = ListenOptions::default();
        let copy = listener.try_clone().unwrap();
        let lent = inherit(found.clone(), vec![copy.into()], 2, &options, true).unwrap();
        assert_eq!((lent.sockets.len(), lent.distinct), (2, 1));
        drop(lent.listen(16).unwrap());
        assert!(path.exists());
        let taken = inherit(found, vec![listener.into()], 1, &options, false).unwrap();
        let bound = taken.listen(16).unwrap();
        assert_eq!(accepted(&bound), 1);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let (datagram, _) = UnixDatagram::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(address_of(&datagram).is_err());
        assert!(address_of(&client).is_err());
        assert!(address_of(&file).is_err());
    }
}
