//! The system calls of forwarding, made here once for every scheduler.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use rustix::pipe::{self, SpliceFlags};

use crate::attempt::Attempt;
use crate::relay::pipe::Pipe;
use crate::socket_options::Dial;
use crate::upstream::address::ServerAddress;

/// A stream that can be read, written and closed without blocking. Tests script it.
pub trait Transport {
    /// Receives into `buffer`. `Drained(0)` is the end of the stream.
    ///
    /// # Errors
    /// What `recv(2)` returns; `EAGAIN` is [`Attempt::Blocked`], and `EINTR` is tried again.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Attempt<usize>>;

    /// Sends from `bytes`, which must not be empty.
    ///
    /// # Errors
    /// What `send(2)` returns; a broken pipe is an error and never a signal.
    fn send(&self, bytes: &[u8]) -> io::Result<Attempt<usize>>;

    /// Moves up to `count` bytes into `pipe`, which is empty, without copying them. `Done(0)` is the end of the
    /// stream, or an urgent mark before it: a receive tells which. How many bytes come says nothing of how many are
    /// left: a pipe may be full long before its size.
    ///
    /// # Errors
    /// What `splice(2)` returns; `EINVAL` where the socket can't do it, which is [`io::ErrorKind::InvalidInput`].
    fn splice_in(&self, pipe: &Pipe, count: usize) -> io::Result<Attempt<usize>>;

    /// Moves `count` bytes, or fewer, out of `pipe`, which has as many.
    ///
    /// # Errors
    /// What `splice(2)` returns. The caller ignores SIGPIPE.
    fn splice_out(&self, pipe: &Pipe, count: usize) -> io::Result<Attempt<usize>>;

    /// Ends this side's stream (`SHUT_WR`): the peer reads the end after the last byte.
    ///
    /// # Errors
    /// `ENOTCONN` when the peer has reset the connection.
    fn shutdown_write(&self) -> io::Result<()>;

    /// Takes the error that the kernel holds for the descriptor (`SO_ERROR`): of a connect, or a reset that
    /// came while nothing was being read.
    ///
    /// # Errors
    /// That error, or the one of `getsockopt(2)`.
    fn take_error(&self) -> io::Result<()>;

    /// Looks at the next byte without receiving it. `Drained(0)` is the end of the stream.
    ///
    /// # Errors
    /// What `recv(2)` returns; the error is taken by that.
    fn peek(&self) -> io::Result<Attempt<usize>>;

    /// Whether a connect that was begun has worked already.
    fn is_connected(&self) -> bool;

    /// Bytes that were sent and that a reset may still lose, as the peer has not acknowledged them.
    ///
    /// # Errors
    /// What the kernel says when asked.
    fn unacknowledged(&self) -> io::Result<usize>;

    /// Makes the coming close a reset (`SO_LINGER` of zero) instead of an orderly end.
    fn reset_on_close(&self);

    /// This side's address, which a connect has as soon as it has begun; none where it is no TCP.
    ///
    /// # Errors
    /// What `getsockname(2)` returns.
    fn local_address(&self) -> io::Result<Option<SocketAddr>>;
}

impl ServerAddress {
    /// Whether a connect to this address, which has begun, has met itself: where nobody listens, the kernel may give a client
    /// the very port that it connects to, and that is a connection then, whose bytes come back to their sender.
    ///
    /// The caller must not use it. Its close is made a reset, as it would keep the server's port for a minute.
    pub fn is_met_by(&self, transport: &impl Transport) -> bool {
        let Self::Tcp(there) = self else {
            return false;
        };
        let Ok(Some(here)) = transport.local_address() else {
            return false;
        };
        // Any address stands for loopback's here.
        let same_host = here.ip() == there.ip() || there.ip().is_unspecified();
        let is_met = same_host && here.port() == there.port();
        if is_met {
            transport.reset_on_close();
        }
        is_met
    }
}

/// A non-blocking socket that this process owns.
#[derive(Debug)]
pub struct Descriptor {
    socket: OwnedFd,
    /// A receive that fills less than its buffer has emptied the socket, except for urgent marks. On a unix socket it may
    /// have stopped at descriptors or credentials that came with the bytes (unix(7)).
    short_means_empty: bool,
}

impl Descriptor {
    /// Takes over a socket of TCP that is already non-blocking.
    pub fn tcp(socket: OwnedFd) -> Self {
        Self {
            socket,
            short_means_empty: true,
        }
    }

    /// Takes over a unix socket that is already non-blocking.
    pub fn unix(socket: OwnedFd) -> Self {
        Self {
            socket,
            short_means_empty: false,
        }
    }

    /// Takes over a socket of either kind, which is non-blocking.
    pub fn of_any(socket: OwnedFd) -> Self {
        let address = net::getsockname(&socket);
        let is_tcp = address.is_ok_and(|address| SocketAddr::try_from(address).is_ok());
        Self {
            socket,
            short_means_empty: is_tcp,
        }
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// When there is none left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            short_means_empty: self.short_means_empty,
        })
    }

    /// Starts a connection. Where it is TCP it has `TCP_NODELAY`, and `SO_KEEPALIVE` unless the upstream's options say
    /// otherwise.
    ///
    /// # Errors
    /// What `socket(2)`, `setsockopt(2)` and `connect(2)` return, `EINPROGRESS` excepted. A unix socket whose backlog is full
    /// says `EAGAIN` at once: the caller has to try again.
    pub fn connect(address: &ServerAddress, dial: Dial<'_>) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, result) = match address {
            ServerAddress::Tcp(address) => {
                let family = if address.is_ipv4() {
                    AddressFamily::INET
                } else {
                    AddressFamily::INET6
                };
                let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
                net::sockopt::set_tcp_nodelay(&fd, true)?;
                match dial.options {
                    // A server that vanished without a word is found out, by the system's `net.ipv4.tcp_keepalive_*`.
                    None => net::sockopt::set_socket_keepalive(&fd, true)?,
                    Some(options) => options.set(&fd, *address, dial.client)?,
                }
                let result = net::connect(&fd, address);
                (fd, result)
            }
            ServerAddress::Unix(path) => {
                let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                let result = net::connect(&fd, &SocketAddrUnix::new(path.as_path())?);
                (fd, result)
            }
        };
        match result {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(match address {
                ServerAddress::Tcp(_) => Self::tcp(fd),
                ServerAddress::Unix(_) => Self::unix(fd),
            }),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Transport for Descriptor {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Attempt<usize>> {
        let room = buffer.len();
        let received =
            rustix::io::retry_on_intr(|| net::recv(&self.socket, &mut *buffer, RecvFlags::empty()));
        match received {
            // Nothing is left; at the end of the stream nobody attempts again.
            Ok((count, _)) if count == 0 || count < room && self.short_means_empty => {
                Ok(Attempt::Drained(count))
            }
            Ok((count, _)) => Ok(Attempt::Done(count)),
            Err(rustix::io::Errno::AGAIN) => Ok(Attempt::Blocked),
            Err(errno) => Err(errno.into()),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Attempt<usize>> {
        match rustix::io::retry_on_intr(|| net::send(&self.socket, bytes, SendFlags::NOSIGNAL)) {
            Ok(count) if count < bytes.len() => Ok(Attempt::Drained(count)),
            Ok(count) => Ok(Attempt::Done(count)),
            Err(rustix::io::Errno::AGAIN) => Ok(Attempt::Blocked),
            Err(errno) => Err(errno.into()),
        }
    }

    fn splice_in(&self, pipe: &Pipe, count: usize) -> io::Result<Attempt<usize>> {
        splice(&self.socket, &pipe.write, count)
    }

    fn splice_out(&self, pipe: &Pipe, count: usize) -> io::Result<Attempt<usize>> {
        splice(&pipe.read, &self.socket, count)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(net::shutdown(&self.socket, Shutdown::Write)?)
    }

    fn take_error(&self) -> io::Result<()> {
        net::sockopt::socket_error(&self.socket)??;
        Ok(())
    }

    fn peek(&self) -> io::Result<Attempt<usize>> {
        let peek = || net::recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK);
        match rustix::io::retry_on_intr(peek) {
            Ok((0, _)) => Ok(Attempt::Drained(0)),
            Ok((count, _)) => Ok(Attempt::Done(count)),
            Err(rustix::io::Errno::AGAIN) => Ok(Attempt::Blocked),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_connected(&self) -> bool {
        // ENOTCONN until then.
        net::getpeername(&self.socket).is_ok()
    }

    fn unacknowledged(&self) -> io::Result<usize> {
        proxy_sys::unacknowledged(&self.socket)
    }

    fn reset_on_close(&self) {
        // Failing leaves an orderly close, which is all that can be done then.
        let _ = net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(net::getsockname(&self.socket)?.try_into().ok())
    }
}

fn splice(from: &OwnedFd, to: &OwnedFd, count: usize) -> io::Result<Attempt<usize>> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    match rustix::io::retry_on_intr(|| pipe::splice(from, None, to, None, count, flags)) {
        Ok(count) => Ok(Attempt::Done(count)),
        Err(rustix::io::Errno::AGAIN) => Ok(Attempt::Blocked),
        Err(errno) => Err(errno.into()),
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<Descriptor> for OwnedFd {
    fn from(descriptor: Descriptor) -> Self {
        descriptor.socket
    }
}
