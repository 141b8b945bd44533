//! Having a listening socket take nobody any more.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;

use socket2::{SockFilter, SockRef};

/// Has a listening socket take nobody any more, and keep those who wait in its backlog: they can still be accepted.
/// It works through any descriptor of the socket.
///
/// TCP: a filter drops the SYNs of new clients, which come again until the socket is closed, and are refused then.
/// A handshake that has begun is completed. A connection that is made of it inherits the filter, which drops nothing
/// that a live connection gets. Unix: new clients are refused.
///
/// # Errors
/// What `setsockopt(2)` or `shutdown(2)` returns. Then the kernel goes on taking clients until the socket is closed.
pub fn stop_taking(socket: impl AsFd) -> io::Result<()> {
    /// The byte of the TCP header that holds the flags.
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    const KEEP: u32 = u32::MAX;
    const DROP: u32 = 0;
    // Classic BPF; the names are those of the kernel's filter documentation.
    const LDB_ABSOLUTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let socket = SockRef::from(&socket);
    if socket.local_addr()?.is_unix() {
        return socket.shutdown(Shutdown::Read);
    }
    socket.attach_filter(&[
        SockFilter::new(LDB_ABSOLUTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(AND, 0, 0, SYN_AND_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, DROP),
        SockFilter::new(RETURN, 0, 0, KEEP),
    ])
}

/// Has a listening socket of TCP that [takes nobody](stop_taking) take clients again.
///
/// # Errors
/// What `setsockopt(2)` returns.
pub fn take_again(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket).detach_filter()
}
