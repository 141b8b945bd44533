//! A server that the case plays.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;

use proxy_core::{ServerAddress, Upstream};
use socket2::{Domain, SockAddr, Socket, Type};

use super::peer::RealPeer;
use crate::process::fresh_path;
use crate::stage::ServerKind;

/// Connects that fill up a backlog of zero for sure.
const FILLING_CONNECTS: usize = 4;

pub(crate) struct Server {
    /// None for a server whose name has no address.
    address: Option<ServerAddress>,
    listener: Option<Socket>,
    /// Connections that fill the backlog of a server that says nothing.
    _fillers: Vec<Socket>,
}

impl Server {
    pub(crate) fn start(kind: ServerKind, unix: bool) -> Self {
        if kind == ServerKind::Unresolved {
            return Self {
                address: None,
                listener: None,
                _fillers: Vec::new(),
            };
        }
        let (domain, address) = if unix {
            let path = fresh_path("server");
            let address = SockAddr::unix(&path).expect("a short path");
            (Domain::UNIX, address)
        } else {
            let any: SocketAddr = ([127, 0, 0, 1], 0).into();
            (Domain::IPV4, any.into())
        };
        let listener = Socket::new(domain, Type::STREAM.cloexec(), None).expect("a socket");
        listener.bind(&address).expect("a port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        let mut fillers = Vec::new();
        match kind {
            // Bound all the same, so that nobody else gets the port.
            ServerKind::Refusing | ServerKind::Unresolved => {}
            ServerKind::Itself | ServerKind::Full | ServerKind::Bug => {
                panic!("a real kernel can't be made to")
            }
            ServerKind::Listening => listener.listen(1024).expect("the port is ours"),
            ServerKind::Silent => {
                listener.listen(0).expect("the port is ours");
                fillers.extend((0..FILLING_CONNECTS).map(|_| fill(domain, &listener)));
            }
        }
        Self {
            address: Some(address_of(&listener)),
            listener: Some(listener),
            _fillers: fillers,
        }
    }

    /// The upstream's member that this is, in this place: members are known by their names.
    pub(crate) fn member(&self, upstream: &Upstream, place: usize) -> proxy_core::Server {
        match &self.address {
            Some(address) => {
                proxy_core::Server::fixed(upstream, address.to_string(), address.clone())
            }
            None => proxy_core::Server::named(upstream, format!("nowhere.invalid:{place}")),
        }
    }

    pub(crate) fn tcp_address(&self) -> Option<SocketAddr> {
        match self.address {
            Some(ServerAddress::Tcp(address)) => Some(address),
            _ => None,
        }
    }

    pub(crate) fn socket(&self) -> Socket {
        let listener = self.listener.as_ref().expect("the server listens");
        listener.try_clone().expect("a descriptor")
    }

    pub(crate) fn accept(&self) -> Option<RealPeer> {
        match self.listener.as_ref()?.accept() {
            Ok((socket, _)) => Some(RealPeer::new(socket)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            // It refuses: it doesn't listen.
            Err(error) if error.kind() == ErrorKind::InvalidInput => None,
            Err(error) => panic!("accepting: {error}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(ServerAddress::Unix(path)) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn fill(domain: Domain, listener: &Socket) -> Socket {
    let filler = Socket::new(domain, Type::STREAM.cloexec(), None).expect("a socket");
    filler
        .set_nonblocking(true)
        .expect("a socket can be non-blocking");
    // The first ones are connected, the rest waits for ever.
    let _ = filler.connect(&listener.local_addr().expect("it is bound"));
    filler
}

fn address_of(listener: &Socket) -> ServerAddress {
    let address = listener.local_addr().expect("it is bound");
    match address.as_socket() {
        Some(address) => ServerAddress::Tcp(address),
        None => ServerAddress::Unix(
            address
                .as_pathname()
                .map(PathBuf::from)
                .expect("it was bound to a path"),
        ),
    }
}
