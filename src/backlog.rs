//! How many connections wait to be accepted, and how many the kernel dropped instead.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use proxy_core::listen::{self, BindAddress, Reserved};

use proxy_sys::{accept_queue, listen_drops};

/// Descriptors of the listening sockets: the workers have their own. They serve to look at the sockets, and to stop all
/// of them at once when the proxy drains.
///
/// Each must be closed soon after the workers have closed theirs: until then new clients wait instead of being refused.
#[derive(Debug, Default)]
pub(crate) struct Backlogs(Mutex<BTreeMap<String, Backlog>>);

/// Those of one listener.
#[derive(Debug, Default)]
struct Backlog {
    sockets: Vec<Socket>,
    /// Unix sockets: the kernel tells nothing of them.
    unix: Vec<OwnedFd>,
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
    /// Adds the listener of this name, with its sockets.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn add(&mut self, listener: &str, reserved: &[Reserved]) -> io::Result<()> {
        let mut backlog = Backlog::default();
        for reserved in reserved {
            let mut copies = reserved.sockets().map(|socket| socket.try_clone_to_owned());
            match reserved.address() {
                BindAddress::Tcp(_) | BindAddress::Every(_) => {
                    for descriptor in copies {
                        let descriptor = descriptor?;
                        backlog.sockets.push(Socket {
                            descriptor,
                            drops: 0,
                        });
                    }
                }
                // All its descriptors are one socket.
                BindAddress::Unix(_) => backlog.unix.extend(copies.next().transpose()?),
            }
        }
        let listeners = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        listeners.insert(listener.to_owned(), backlog);
        Ok(())
    }

    /// Has every socket take nobody any more, whether or not its worker has time now. Who waits is kept.
    pub(crate) fn stop_taking(&self) {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for backlog in listeners.values() {
            let tcp = backlog.sockets.iter().map(|socket| &socket.descriptor);
            for descriptor in tcp.chain(&backlog.unix) {
                if let Err(error) = listen::stop_taking(descriptor) {
                    tracing::warn!(%error, "a socket takes new connections until its worker closes it");
                }
            }
        }
    }

    /// Connections that wait at a listener, by its name.
    pub(crate) fn waiting(&self, listener: &str) -> u64 {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = listeners
            .get(listener)
            .map_or(&[][..], |backlog| &backlog.sockets);
        sockets
            .iter()
            .filter_map(|socket| accept_queue(socket.descriptor.as_fd()))
            .map(u64::from)
            .sum()
    }

    /// Connection attempts that the kernel dropped at a listener, by its name. It never shrinks; those between the last
    /// look and [`Backlogs::close`] are not known.
    pub(crate) fn drops(&self, listener: &str) -> u64 {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(backlog) = listeners.get_mut(listener) else {
            return 0;
        };
        for socket in &mut backlog.sockets {
            if let Some(now) = listen_drops(socket.descriptor.as_fd()) {
                backlog.drops += u64::from(now.wrapping_sub(socket.drops));
                socket.drops = now;
            }
        }
        backlog.drops
    }

    /// The workers have closed the sockets of a listener, by its name.
    pub(crate) fn close(&self, listener: &str) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backlog) = listeners.get_mut(listener) {
            backlog.sockets.clear();
            backlog.unix.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use super::*;

    fn listening(backlog: u16) -> (Backlogs, SocketAddr) {
        let any = BindAddress::Tcp(([127, 0, 0, 1], 0).into());
        let reserved = listen::reserve(&any, 1).unwrap();
        let BindAddress::Tcp(address) = *reserved.address() else {
            unreachable!("it was asked for TCP");
        };
        let mut backlogs = Backlogs::default();
        backlogs
            .add("web", std::slice::from_ref(&reserved))
            .unwrap();
        drop(reserved.listen(backlog).unwrap());
        (backlogs, address)
    }

    #[test]
    fn who_is_not_accepted_waits() {
        let (backlogs, address) = listening(8);
        assert_eq!(backlogs.waiting("web"), 0);
        let _clients = [TcpStream::connect(address), TcpStream::connect(address)];
        assert_eq!(backlogs.waiting("web"), 2);
        backlogs.stop_taking();
        assert_eq!(backlogs.waiting("web"), 2);
        let timeout = Duration::from_millis(50);
        TcpStream::connect_timeout(&address, timeout).expect_err("nobody is taken");
        backlogs.close("web");
        assert_eq!(backlogs.waiting("web"), 0);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn who_finds_the_queue_full_is_dropped() {
        // Linux takes one more than the backlog.
        let (backlogs, address) = listening(1);
        let _clients = [TcpStream::connect(address), TcpStream::connect(address)];
        assert_eq!(backlogs.drops("web"), 0);
        let timeout = Duration::from_millis(50);
        TcpStream::connect_timeout(&address, timeout).expect_err("no answer");
        let drops = backlogs.drops("web");
        assert!(drops >= 1);
        backlogs.close("web");
        assert_eq!(backlogs.drops("web"), drops);
        assert_eq!(backlogs.drops("wbe"), 0);
    }
}
