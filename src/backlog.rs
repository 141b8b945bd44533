//! How many connections wait to be accepted, and how many the kernel dropped instead.

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
pub(crate) struct Backlogs(Mutex<Vec<Backlog>>);

/// Those of one listener.
#[derive(Debug, Default)]
struct Backlog {
    sockets: Vec<Socket>,
    /// What the kernel dropped, as of the last look.
    drops: u64,
}

#[derive(Debug)]
struct Socket {
    descriptor: OwnedFd,
    /// The kernel's own count, which wraps, as of the last look.
    drops: u32,
}

impl Backlogs {
    /// Adds the next listener, with its TCP sockets. The kernel doesn't tell how many wait at a unix socket.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn add(&mut self, bounds: &[Bound]) -> io::Result<()> {
        let tcp = bounds
            .iter()
            .filter(|bound| !matches!(bound.address, BindAddress::Unix(_)));
        let copies: io::Result<Vec<_>> = tcp
            .flat_map(|bound| &bound.sockets)
            .map(|socket: &Descriptor| {
                let descriptor = socket.as_fd().try_clone_to_owned()?;
                Ok(Socket {
                    descriptor,
                    drops: 0,
                })
            })
            .collect();
        let listeners = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Backlog {
            sockets: copies?,
            drops: 0,
        });
        Ok(())
    }

    /// Connections that wait at a listener, by its index.
    pub(crate) fn waiting(&self, listener: usize) -> u64 {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = listeners
            .get(listener)
            .map_or(&[][..], |backlog| &backlog.sockets);
        sockets
            .iter()
            .filter_map(|socket| sys::accept_queue(socket.descriptor.as_fd()))
            .map(u64::from)
            .sum()
    }

    /// Connection attempts that the kernel dropped at a listener, by its index. It never shrinks; those between the last
    /// look and [`Backlogs::close`] are not known.
    pub(crate) fn drops(&self, listener: usize) -> u64 {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(backlog) = listeners.get_mut(listener) else {
            return 0;
        };
        for socket in &mut backlog.sockets {
            if let Some(now) = sys::listen_drops(socket.descriptor.as_fd()) {
                backlog.drops += u64::from(now.wrapping_sub(socket.drops));
                socket.drops = now;
            }
        }
        backlog.drops
    }

    /// Nothing listens any more.
    pub(crate) fn close(&self) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for backlog in listeners.iter_mut() {
            backlog.sockets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

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

    #[test]
    fn who_finds_the_queue_full_is_dropped() {
        // Linux takes one more than the backlog.
        let bound = listen::bind(&BindAddress::Tcp(([127, 0, 0, 1], 0).into()), 1, 1).unwrap();
        let BindAddress::Tcp(address) = bound.address else {
            unreachable!("it was asked for TCP");
        };
        let mut backlogs = Backlogs::default();
        backlogs.add(&[bound]).unwrap();
        let _clients = [TcpStream::connect(address), TcpStream::connect(address)];
        assert_eq!(backlogs.drops(0), 0);
        let timeout = Duration::from_millis(50);
        TcpStream::connect_timeout(&address, timeout).expect_err("no answer");
        let drops = backlogs.drops(0);
        assert!(drops >= 1);
        backlogs.close();
        assert_eq!(backlogs.drops(0), drops);
        assert_eq!(backlogs.drops(1), 0);
    }
}
