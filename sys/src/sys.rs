//! The unsafe calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::{AddressFamily, sockopt};

/// Bytes that were sent on a TCP socket and that its peer has not acknowledged (`SIOCOUTQ`, tcp(7)): a reset would
/// lose them.
///
/// Zero for a unix socket: what was sent there lies with the peer, and a close leaves it there.
///
/// # Errors
/// What `getsockopt(2)` or `ioctl(2)` returns.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<usize> {
    let socket = socket.as_fd();
    if sockopt::socket_domain(socket)? == AddressFamily::UNIX {
        return Ok(0);
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and SIOCOUTQ, which is TIOCOUTQ, writes one
    // int, which is what `bytes` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_that_the_peer_has_no_room_for_are_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let mut sender = TcpStream::connect(address).expect("a connection");
        let (mut receiver, _) = listener.accept().expect("a connection");
        sender.set_nonblocking(true).expect("an option");
        let chunk = [1; 64 * 1024];
        let mut sent = 0;
        while let Ok(count) = sender.write(&chunk) {
            sent += count;
        }
        let waiting = unacknowledged(&sender).expect("a count");
        assert!(waiting > 0 && waiting <= sent, "{waiting} of {sent}");
        receiver.read_exact(&mut vec![0; sent]).expect("all bytes");
        while unacknowledged(&sender).expect("a count") > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_unix_socket_has_none() {
        let (mut sender, _receiver) = UnixStream::pair().expect("a pair");
        sender.write_all(b"hello").expect("room");
        assert_eq!(unacknowledged(&sender).expect("a count"), 0);
    }
}
