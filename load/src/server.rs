//! The upstream server: it echoes what it gets, or throws it away, or sends of its own as well.

use std::net::TcpListener;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::poller::{Owner, Poller};
use crate::tally::Tally;

/// The listener's index; connections come after it.
const LISTENER: usize = 0;
/// Most bytes taken from a socket, or given to it, at once.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Connections accepted before other events get their turn.
const ACCEPTS_MAX: usize = 64;

/// What a server does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It sends them back.
    Echo,
    /// It throws them away.
    Sink,
    /// A sink that sends as fast as it can.
    Duplex,
}

impl Mode {
    /// What a connection waits for.
    fn interest(self) -> EventFlags {
        match self {
            Self::Echo | Self::Sink => EventFlags::IN,
            Self::Duplex => EventFlags::IN | EventFlags::OUT,
        }
    }
}

/// All the connections from the proxy.
pub struct Server<'a> {
    listener: &'a TcpListener,
    mode: Mode,
    connections: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    chunk: Vec<u8>,
}

struct Connection {
    socket: OwnedFd,
    /// What the socket's send buffer had no room for; while there is any, nothing is read.
    unsent: Vec<u8>,
}

impl<'a> Server<'a> {
    pub(crate) fn new(
        listener: &'a TcpListener,
        mode: Mode,
        poller: &Poller,
    ) -> anyhow::Result<Self> {
        listener.set_nonblocking(true)?;
        poller.add(listener, Owner::Server, LISTENER, EventFlags::IN)?;
        let chunk = vec![0; CHUNK_BYTES];
        Ok(Self {
            listener,
            mode,
            connections: vec![None],
            vacant: Vec::new(),
            chunk,
        })
    }

    pub(crate) fn on_event(
        &mut self,
        index: usize,
        flags: EventFlags,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        if index == LISTENER {
            return self.accept(poller);
        }
        // An event fetched together with the one that closed the connection finds nothing here.
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let result = match self.mode {
            Mode::Sink => discard(&connection.socket, &mut self.chunk)
                .inspect(|&bytes| tally.add(bytes as u64)),
            Mode::Duplex => connection.exchange(&mut self.chunk, flags, tally),
            Mode::Echo if flags.contains(EventFlags::OUT) => connection.resume(index, poller),
            Mode::Echo => connection.echo(&mut self.chunk, index, poller),
        };
        match result {
            Ok(1..) | Err(Errno::AGAIN) => {}
            // The end of the stream, or a reset: the client's side says whether that was in order.
            Ok(0) | Err(_) => {
                self.connections[index] = None;
                self.vacant.push(index);
            }
        }
        Ok(())
    }

    /// Makes the connections end by a reset when they are dropped, which leaves no TIME_WAIT.
    pub(crate) fn reset_all(&self) -> rustix::io::Result<()> {
        self.connections
            .iter()
            .flatten()
            .try_for_each(|connection| set_socket_linger(&connection.socket, Some(Duration::ZERO)))
    }

    fn accept(&mut self, poller: &Poller) -> anyhow::Result<()> {
        for _ in 0..ACCEPTS_MAX {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = self.vacant.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            poller.add(&stream, Owner::Server, index, self.mode.interest())?;
            self.connections[index] = Some(Connection {
                socket: stream.into(),
                unsent: Vec::new(),
            });
        }
        Ok(())
    }
}

impl Connection {
    /// Sends back what has arrived; 0 at the end.
    fn echo(
        &mut self,
        chunk: &mut [u8],
        index: usize,
        poller: &Poller,
    ) -> rustix::io::Result<usize> {
        let (_, bytes) = recv(&self.socket, &mut *chunk, RecvFlags::empty())?;
        let sent = send_some(&self.socket, &chunk[..bytes])?;
        if sent < bytes {
            self.unsent.extend_from_slice(&chunk[sent..bytes]);
            poller.change(&self.socket, Owner::Server, index, EventFlags::OUT)?;
        }
        Ok(bytes)
    }

    /// Takes and gives, whichever is possible; 0 at the end.
    fn exchange(
        &self,
        chunk: &mut [u8],
        flags: EventFlags,
        tally: &mut Tally,
    ) -> rustix::io::Result<usize> {
        let sent = if flags.contains(EventFlags::OUT) {
            send_some(&self.socket, chunk)?
        } else {
            0
        };
        if flags.contains(EventFlags::IN) {
            let bytes = discard(&self.socket, chunk)?;
            tally.add(bytes as u64);
            return Ok(bytes);
        }
        Ok(sent.max(1))
    }

    /// Sends on what was left.
    fn resume(&mut self, index: usize, poller: &Poller) -> rustix::io::Result<usize> {
        let sent = send_some(&self.socket, &self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            poller.change(&self.socket, Owner::Server, index, EventFlags::IN)?;
        }
        // Even where nothing could be sent the stream is not at its end.
        Ok(sent.max(1))
    }
}

/// Drops what has arrived without copying it out of the kernel; returns how much that was, 0 at the end.
pub(crate) fn discard(socket: &OwnedFd, chunk: &mut [u8]) -> rustix::io::Result<usize> {
    recv(socket, chunk, RecvFlags::TRUNC).map(|(_, bytes)| bytes)
}

/// Sends what the socket has room for, which may be nothing.
pub(crate) fn send_some(socket: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN) => Ok(0),
        result => result,
    }
}
