//! What the two processes of an upgrade say to each other: messages with descriptors, over a pair of unix sockets.
//!
//! A message is cut into pieces that each are one packet (SOCK_SEQPACKET), so a piece arrives whole or not at all. The head of a
//! piece is the same in every version: what kind of message it is, and how long the message is, with all its pieces.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use proxy_core::carry::Anchor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::time::{ClockId, clock_gettime};

/// Descriptors of a message, at most: the kernel's own limit (`SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_MAX: usize = 253;

/// Bytes of a message, at most. Those of some ten thousand servers with names are a tenth of it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Bytes of a piece, at most, with its head: well below the buffer that a socket has by default.
const PIECE_BYTES_MAX: usize = 60 << 10;

/// Kind, whether it is the last piece, descriptors of the message, bytes of the message.
const HEAD_BYTES: usize = 8;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What kind of message it is. A number is never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// From the new process, first: which versions it speaks.
    Hello = 1,
    /// From the old one: the version that both speak, and what there is.
    Welcome = 2,
    /// Sockets of one address.
    Sockets = 3,
    /// There are no more sockets.
    SocketsEnd = 4,
    /// From the new one: it has all it needs, and would accept.
    Ready = 5,
    /// It can't, and why.
    Failed = 6,
    /// From the old one: it is to accept.
    Go = 7,
    /// From the new one: it accepts.
    Accepts = 8,
    /// From the old one: it has nothing any more.
    Done = 9,
    /// From the old one: connections.
    Connections = 10,
    /// From the new one: which of them it has now.
    Taken = 11,
    /// From the old one: what metrics have counted, before it says Go and before it says Done.
    Metrics = 12,
    /// From the old one: what is known of servers and what limits have counted, before it says SocketsEnd and before it says Go.
    Verdicts = 13,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    /// Those that there was room for.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Descriptors for which this process has no room.
    pub(crate) lacking: usize,
}

impl Channel {
    /// Both ends. They are closed where another program is run.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(one), other))
    }

    /// The end that another process has given this one.
    pub(crate) fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a message; waits for room until a time.
    ///
    /// # Errors
    /// `TimedOut`, `BrokenPipe` when the other process is gone, and what `sendmsg(2)` returns.
    pub(crate) fn send(
        &self,
        kind: Kind,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        until: Instant,
    ) -> io::Result<()> {
        if bytes.len() > MESSAGE_BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
            return Err(invalid("a message is too long"));
        }
        let mut pieces = bytes.chunks(PIECE_BYTES_MAX - HEAD_BYTES);
        let mut descriptors_left = descriptors;
        let mut piece = pieces.next().unwrap_or_default();
        loop {
            let next = pieces.next();
            let head = head(kind, next.is_none(), descriptors.len(), bytes.len());
            self.send_piece(&head, piece, descriptors_left, until)?;
            // All came with the first.
            descriptors_left = &[];
            let Some(next) = next else { return Ok(()) };
            piece = next;
        }
    }

    fn send_piece(
        &self,
        head: &[u8],
        piece: &[u8],
        descriptors: &[BorrowedFd<'_>],
        until: Instant,
    ) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let parts = [IoSlice::new(head), IoSlice::new(piece)];
            match sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                // Too many descriptors of this user are on their way (unix(7)): those before are received meanwhile.
                Err(Errno::AGAIN | Errno::TOOMANYREFS) => {
                    self.wait(PollFlags::OUT, until)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message, which has to be there by a time. None: the other process has closed its end, or is gone.
    ///
    /// # Errors
    /// `TimedOut`; `InvalidData` when it is no message; what `recvmsg(2)` returns.
    pub(crate) fn receive(&self, until: Instant) -> io::Result<Option<Message>> {
        let mut message: Option<(Message, usize)> = None;
        loop {
            let Some((piece, descriptors)) = self.receive_piece(until)? else {
                if let Some((message, _)) = message {
                    // Nobody else has them: a plain close would tell their peers that they have all.
                    message.descriptors.iter().for_each(reset_on_close);
                }
                return Ok(None);
            };
            let (head, piece) = piece.split_at_checked(HEAD_BYTES).ok_or_else(no_message)?;
            let (kind, is_last, count, length) = parse(head)?;
            let (message, whole) = message.get_or_insert_with(|| {
                let message = Message {
                    kind,
                    bytes: Vec::new(),
                    lacking: count.saturating_sub(descriptors.len()),
                    descriptors,
                };
                (message, length)
            });
            message.bytes.extend_from_slice(piece);
            if (message.kind, *whole) != (kind, length) || message.bytes.len() > length {
                return Err(no_message());
            }
            if is_last {
                if message.bytes.len() != length {
                    return Err(no_message());
                }
                let taken = Message {
                    kind,
                    bytes: std::mem::take(&mut message.bytes),
                    descriptors: std::mem::take(&mut message.descriptors),
                    lacking: message.lacking,
                };
                return Ok(Some(taken));
            }
        }
    }

    fn receive_piece(&self, until: Instant) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut bytes = vec![0; PIECE_BYTES_MAX];
        loop {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) if received.bytes == 0 => return Ok(None),
                Ok(received) => {
                    bytes.truncate(received.bytes);
                    let descriptors = control.drain().filter_map(|message| match message {
                        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                        _ => None,
                    });
                    return Ok(Some((bytes, descriptors.flatten().collect())));
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, until)?,
                // It ended with something of ours unread, which is said once. What it has sent before is still there.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a message is there, or the end, within some time.
    pub(crate) fn is_readable(&self, within: Duration) -> bool {
        let until = now() + within;
        self.wait(PollFlags::IN, until).is_ok()
    }

    fn wait(&self, what: PollFlags, until: Instant) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut polled = [PollFd::new(&self.0, what)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Err(ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is no socket of TCP has no such thing.
fn reset_on_close(descriptor: &OwnedFd) {
    let _ = rustix::net::sockopt::set_socket_linger(descriptor, Some(Duration::ZERO));
}

fn head(kind: Kind, is_last: bool, descriptors: usize, length: usize) -> [u8; HEAD_BYTES] {
    let [d0, d1] = (descriptors as u16).to_le_bytes();
    let [l0, l1, l2, l3] = (length as u32).to_le_bytes();
    [kind as u8, is_last.into(), d0, d1, l0, l1, l2, l3]
}

fn parse(head: &[u8]) -> io::Result<(Kind, bool, usize, usize)> {
    let &[kind, is_last, d0, d1, l0, l1, l2, l3] = head else {
        return Err(no_message());
    };
    let kind = Kind::of(kind).ok_or_else(no_message)?;
    let descriptors = u16::from_le_bytes([d0, d1]) as usize;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if is_last > 1 || descriptors > DESCRIPTORS_MAX || length > MESSAGE_BYTES_MAX {
        return Err(no_message());
    }
    Ok((kind, is_last == 1, descriptors, length))
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Hello,
        Self::Welcome,
        Self::Sockets,
        Self::SocketsEnd,
        Self::Ready,
        Self::Failed,
        Self::Go,
        Self::Accepts,
        Self::Done,
        Self::Connections,
        Self::Taken,
        Self::Metrics,
        Self::Verdicts,
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == number)
    }
}

fn no_message() -> io::Error {
    invalid("the other process sends what is no message of an upgrade")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// What moments are counted from that go to the other process.
pub(super) fn anchor() -> Anchor {
    let kernel = clock_gettime(ClockId::Monotonic);
    // It has no sign.
    Anchor::new(now(), Duration::try_from(kernel).unwrap_or_default())
}

/// What time it is, for an upgrade.
#[expect(clippy::disallowed_methods, reason = "an upgrade, not a worker")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn soon() -> Instant {
        now() + Duration::from_secs(20)
    }

    fn pair() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        (one, Channel::of(other))
    }

    #[test]
    fn a_long_message_arrives_whole_with_its_descriptors() {
        let (one, other) = pair();
        let bytes: Vec<u8> = (0..1_000_000_u32)
            .map(|place| (place % 251) as u8)
            .collect();
        let (mut reader, writer) = io::pipe().unwrap();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            let descriptors = [writer.as_fd()];
            one.send(Kind::Go, &sent, &descriptors, soon()).unwrap();
            one.send(Kind::Done, &[], &[], soon()).unwrap();
        });
        let message = other.receive(soon()).unwrap().unwrap();
        assert_eq!((message.kind, message.lacking), (Kind::Go, 0));
        assert!(message.bytes == bytes);
        let [descriptor] = <[OwnedFd; 1]>::try_from(message.descriptors).unwrap();
        std::fs::File::from(descriptor).write_all(b"hello").unwrap();
        assert_eq!(other.receive(soon()).unwrap().unwrap().kind, Kind::Done);
        assert!(other.receive(soon()).unwrap().is_none(), "it is gone");
        sender.join().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn as_many_descriptors_go_as_the_kernel_takes() {
        let (one, other) = pair();
        let (_reader, writer) = io::pipe().unwrap();
        let descriptors = vec![writer.as_fd(); DESCRIPTORS_MAX];
        one.send(Kind::Sockets, b"x", &descriptors, soon()).unwrap();
        let message = other.receive(soon()).unwrap().unwrap();
        assert_eq!(message.descriptors.len(), DESCRIPTORS_MAX);
        let more = vec![writer.as_fd(); DESCRIPTORS_MAX + 1];
        one.send(Kind::Sockets, b"x", &more, soon()).unwrap_err();
    }

    #[test]
    fn what_was_sent_is_read_though_the_sender_ended_with_something_unread() {
        let (one, other) = pair();
        one.send(Kind::Go, b"first", &[], soon()).unwrap();
        other.send(Kind::Ready, b"unread", &[], soon()).unwrap();
        drop(one);
        let message = other.receive(soon()).unwrap().unwrap();
        assert_eq!(
            (message.kind, &message.bytes[..]),
            (Kind::Go, &b"first"[..])
        );
        assert!(other.receive(soon()).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_an_error_and_silence_has_an_end() {
        let (one, other) = pair();
        let late = other
            .receive(now() + Duration::from_millis(10))
            .unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        let length = (MESSAGE_BYTES_MAX as u32 + 1).to_le_bytes();
        let [l0, l1, l2, l3] = length;
        let cases: [&[u8]; 6] = [
            &[1, 1, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[200, 1, 0, 0, 0, 0, 0, 0],
            &[1, 2, 0, 0, 0, 0, 0, 0],
            &[1, 1, 0, 0, 1, 0, 0, 0],
            &[1, 1, 0, 0, l0, l1, l2, l3],
        ];
        for bytes in cases {
            rustix::net::send(&one, bytes, SendFlags::empty()).unwrap();
            let error = other.receive(soon()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{bytes:?}");
        }
    }
}
