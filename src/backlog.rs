//! How many connections wait to be accepted.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use proxy_core::Descriptor;
use proxy_core::listen::{BindAddress, Bound};

use crate::sys;

/// Descriptors of the listening sockets, for looking at them only: the workers have their own.
///
/// They must be closed when the proxy drains, lest the kernel go on taking connections that nobody will accept.
#[derive(Debug, Default)]
pub(crate) struct Backlogs(Mutex<Vec<Vec<OwnedFd>>>);

impl Backlogs {
    /// Adds the next listener, with its TCP sockets. The kernel doesn't tell how many wait at a unix socket.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn add(&mut self, bounds: &[Bound]) -> io::Result<()> {
        let tcp = bounds
            .iter()
            .filter(|bound| matches!(bound.address, BindAddress::Tcp(_)));
        let copies: io::Result<Vec<_>> = tcp
            .flat_map(|bound| &bound.sockets)
            .map(|socket: &Descriptor| socket.as_fd().try_clone_to_owned())
            .collect();
        let listeners = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        listeners.push(copies?);
        Ok(())
    }

    /// Connections that wait at a listener, by its index.
    pub(crate) fn waiting(&self, listener: usize) -> u64 {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = listeners.get(listener).into_iter().flatten();
        sockets
            .filter_map(|socket| sys::accept_queue(socket.as_fd()))
            .map(u64::from)
            .sum()
    }

    /// Nothing listens any more.
    pub(crate) fn close(&self) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use proxy_core::listen;

    use super::*;

    #[test]
    fn who_is_not_accepted_waits() {
        let bound = listen::bind(&BindAddress::Tcp(([127, 0, 0, 1], 0).into()), 8, 1).unwrap();
        let BindAddress::Tcp(address) = bound.address else {
            unreachable!("it was asked for TCP");
        };
        let mut backlogs = Backlogs::default();
        backlogs.add(&[bound]).unwrap();
        assert_eq!(backlogs.waiting(0), 0);
        let _clients = [TcpStream::connect(address), TcpStream::connect(address)];
        assert_eq!(backlogs.waiting(0), 2);
        backlogs.close();
        assert_eq!(backlogs.waiting(0), 0);
        assert!(TcpStream::connect(address).is_err());
    }
}
