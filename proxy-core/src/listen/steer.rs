//! Which clients a listening socket gets among those that share its port.

use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

/// Has the kernel prefer a listening socket for clients whose packets come in on this CPU, or for none in particular
/// (SO_INCOMING_CPU, socket(7); Linux 6.2 heeds it). It works through any descriptor of the socket, and lasts as long as the
/// socket does.
///
/// # Errors
/// What `setsockopt(2)` returns. Then the socket goes on as it was.
pub fn steer(socket: impl AsFd, cpu: Option<usize>) -> io::Result<()> {
    // The option is an int, and -1 stands for no CPU: every kernel takes any value (sk_setsockopt in net/core/sock.c).
    SockRef::from(&socket).set_cpu_affinity(cpu.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_was_preferred_is_forgotten() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let preferred = || SockRef::from(&socket).cpu_affinity().unwrap();
        let at_first = preferred();
        steer(&socket, Some(1)).unwrap();
        assert_eq!(preferred(), 1);
        steer(&socket, None).unwrap();
        assert_eq!(preferred(), at_first);
    }
}
