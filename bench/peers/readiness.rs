//! A pair of sockets driven by edges of readiness: what candidates (a) and (b) share, so that they differ in
//! nothing but where the edges come from.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// Most bytes taken from a socket at once.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// What an edge said of one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    /// There is something to read, the end of the stream and errors included.
    pub(crate) read: bool,
    /// There is room to write.
    pub(crate) write: bool,
    /// The peer has sent its last: a short read is not yet the end of what there is to read.
    pub(crate) hangup: bool,
}

/// A client's socket (side 0) and the server's (side 1).
pub(crate) struct Pair {
    sides: [Side; 2],
}

struct Side {
    socket: OwnedFd,
    hangup: bool,
    /// The end has been read from here and passed on.
    ended: bool,
    /// What was read here and the other side had no room for. While there is any, nothing more is read.
    unsent: Vec<u8>,
}

impl Pair {
    pub(crate) fn new(client: OwnedFd, server: OwnedFd) -> Self {
        let side = |socket| Side {
            socket,
            hangup: false,
            ended: false,
            unsent: Vec::new(),
        };
        Self {
            sides: [side(client), side(server)],
        }
    }

    pub(crate) fn socket(&self, side: usize) -> &OwnedFd {
        &self.sides[side].socket
    }

    /// Moves what can be moved after an edge of `side`. True when the pair has nothing left to do.
    pub(crate) fn on_edge(&mut self, side: usize, edge: Edge, scratch: &mut [u8]) -> bool {
        self.sides[side].hangup |= edge.hangup;
        let mut result = Ok(());
        if edge.read && self.sides[side].unsent.is_empty() {
            result = self.pump(side, scratch);
        }
        let other = 1 - side;
        if edge.write && !self.sides[other].unsent.is_empty() {
            result = result.and_then(|()| self.resume(other, scratch));
        }
        result.is_err() || self.sides.iter().all(|side| side.ended)
    }

    /// Sends on what was left, then reads again: the edge that came meanwhile is gone.
    fn resume(&mut self, from: usize, scratch: &mut [u8]) -> rustix::io::Result<()> {
        let [source, target] = self.direction(from);
        let sent = send_some(&target.socket, &source.unsent)?;
        source.unsent.drain(..sent);
        if source.unsent.is_empty() {
            self.pump(from, scratch)
        } else {
            Ok(())
        }
    }

    /// Reads and sends until there is nothing to read or no room to send.
    fn pump(&mut self, from: usize, scratch: &mut [u8]) -> rustix::io::Result<()> {
        let [source, target] = self.direction(from);
        while !source.ended {
            let bytes = match recv(&source.socket, &mut *scratch, RecvFlags::empty()) {
                Ok((_, bytes)) => bytes,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            };
            if bytes == 0 {
                source.ended = true;
                shutdown(&target.socket, Shutdown::Write)?;
                break;
            }
            let sent = send_some(&target.socket, &scratch[..bytes])?;
            if sent < bytes {
                source.unsent.extend_from_slice(&scratch[sent..bytes]);
                break;
            }
            // The socket is empty, and what comes next makes an edge.
            if bytes < scratch.len() && !source.hangup {
                break;
            }
        }
        Ok(())
    }

    fn direction(&mut self, from: usize) -> [&mut Side; 2] {
        let [client, server] = &mut self.sides;
        if from == 0 {
            [client, server]
        } else {
            [server, client]
        }
    }
}

/// Sends what the socket has room for, which may be nothing.
pub(crate) fn send_some(socket: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN) => Ok(0),
        result => result,
    }
}
