//! A client's or a server's socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use proxy_core::listen::BindAddress;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::stage::{Peer, Received};

/// A socket of the kernel that never waits.
#[derive(Debug)]
pub struct RealPeer(Socket);

impl RealPeer {
    pub(crate) fn new(socket: Socket) -> Self {
        socket
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        // Unix sockets have no such delay.
        let _ = socket.set_tcp_nodelay(true);
        Self(socket)
    }

    pub(crate) fn connect(address: &BindAddress) -> io::Result<Self> {
        let (domain, address) = match (address, address.local()) {
            (BindAddress::Unix(path), _) => (Domain::UNIX, SockAddr::unix(path)?),
            (_, local) => {
                let local = local.expect("only a unix socket has none");
                (Domain::for_address(local), local.into())
            }
        };
        let socket = Socket::new(domain, Type::STREAM.cloexec(), None)?;
        socket.connect(&address)?;
        Ok(Self::new(socket))
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }
}

impl Peer for RealPeer {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.0).write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    fn send_mark(&self) {
        // Without room there is no mark.
        let _ = self.0.send_out_of_band(b"!");
    }

    fn receive(&self, buffer: &mut [u8]) -> Received {
        match (&self.0).read(buffer) {
            Ok(0) => Received::End,
            Ok(count) => Received::Bytes(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Received::Nothing,
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Received::Reset,
                _ => panic!("receiving: {error}"),
            },
        }
    }

    fn unacknowledged(&self) -> usize {
        proxy_sys::unacknowledged(&self.0).expect("the socket is open")
    }

    fn shutdown_write(&self) {
        self.0
            .shutdown(Shutdown::Write)
            .expect("the stream is open");
    }

    fn is_reset(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).expect("poll");
        fds[0].revents().contains(PollFlags::ERR)
    }

    fn reset(self) {
        self.0
            .set_linger(Some(Duration::ZERO))
            .expect("a socket can linger");
    }
}
