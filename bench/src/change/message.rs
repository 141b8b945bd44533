//! A message that can't be taken for another one, and its echo.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::faults::Fault;

/// Bytes of a message.
pub(super) const BYTES: usize = 64;

/// Message `round` of connection `index`: every byte says whose it is.
pub(super) fn message(index: u64, round: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (part, chunk) in bytes.chunks_exact_mut(16).enumerate() {
        chunk[..8].copy_from_slice(&(index << 2 | part as u64).to_le_bytes());
        chunk[8..].copy_from_slice(&round.to_le_bytes());
    }
    bytes
}

/// Sends a message whole; false where the socket isn't connected yet.
pub(super) fn send_whole(socket: &OwnedFd, message: &[u8; BYTES]) -> Result<bool, Errno> {
    match send(socket, message, SendFlags::NOSIGNAL) {
        Ok(BYTES) => Ok(true),
        // A socket with no message under way has room for one.
        Ok(_) => Err(Errno::MSGSIZE),
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The echo of one message, as it comes.
#[derive(Clone, Debug, Default)]
pub(super) struct Echo {
    received: Vec<u8>,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not all of it.
    Part,
    /// All of it, as it was sent.
    Whole,
    Fault(Fault),
}

impl Echo {
    /// Receives what there is of the echo of `message`.
    ///
    /// # Errors
    /// Where the load generator itself is to blame.
    pub(super) fn receive(
        &mut self,
        socket: &OwnedFd,
        message: &[u8; BYTES],
    ) -> rustix::io::Result<Heard> {
        // One byte more than is left, so that an answer that is too long is seen.
        let mut room = [0; BYTES + 1];
        let room = &mut room[..BYTES + 1 - self.received.len()];
        let bytes = match recv(socket, &mut *room, RecvFlags::empty()) {
            Ok((_, 0)) => return Ok(Heard::Fault(Fault::Closed)),
            Ok((_, bytes)) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Heard::Part),
            Err(error) => return Fault::of(error).map(Heard::Fault).ok_or(error),
        };
        self.received.extend_from_slice(&room[..bytes]);
        if !message.starts_with(&self.received) {
            return Ok(Heard::Fault(Fault::Wrong));
        }
        if self.received.len() < BYTES {
            return Ok(Heard::Part);
        }
        self.received.clear();
        Ok(Heard::Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_by_index_and_round() {
        assert_eq!(message(3, 4), message(3, 4));
        assert_ne!(message(3, 4), message(4, 3));
        assert_ne!(message(3, 4), message(3, 5));
        // A part that stands in another one's place is seen.
        assert_ne!(message(3, 4)[..16], message(3, 4)[16..32]);
    }
}
