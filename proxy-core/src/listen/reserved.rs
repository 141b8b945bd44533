//! An address that is taken, and then listened on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

use super::address::BindAddress;
use super::file::SocketFile;
use crate::transport::Descriptor;

/// Sockets that listen on one address.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that the kernel chose. [`BindAddress::Every`] is 0.0.0.0 where the kernel has no
    /// IPv6.
    pub address: BindAddress,
    /// As many as were asked for; more where more were inherited.
    pub sockets: Vec<Descriptor>,
    /// How many of them are sockets of their own; the others are descriptors of the same.
    pub distinct: usize,
    /// Another process goes on listening when this one has closed them.
    pub is_lent: bool,
    /// The file of a unix socket.
    pub file: Option<SocketFile>,
}

/// An address that is taken, and not listened on yet: clients are refused, and none can be accepted and then cut.
#[derive(Debug)]
pub struct Reserved {
    pub(super) address: BindAddress,
    pub(super) sockets: Vec<Socket>,
    pub(super) file: Option<SocketFile>,
    /// Whether others of this process listen on the port, at an address that overlaps.
    pub(super) is_beside: bool,
    /// Keeps other starts from taking the file for one that is left behind, until it is listened on.
    pub(super) claim: Option<Socket>,
    /// So many of the first listen already: they were inherited.
    pub(super) listening: usize,
    /// How many are sockets of their own.
    pub(super) distinct: usize,
    /// They are another process's, which goes on listening.
    pub(super) is_lent: bool,
}

impl Reserved {
    /// The address, with the port that the kernel chose.
    pub fn address(&self) -> &BindAddress {
        &self.address
    }

    /// Its sockets, to be looked at.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Whether clients that come to others of this process would come here as soon as it listens.
    pub fn is_beside(&self) -> bool {
        self.is_beside
    }

    /// The file of a unix socket.
    pub fn file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
    }

    /// Listens: from now on the kernel takes connections.
    ///
    /// # Errors
    /// What `listen(2)` returns: `AddrInUse` when somebody else was faster since [`reserve`](super::reserve).
    pub fn listen(self, backlog: u16) -> io::Result<Bound> {
        let shares_port = !matches!(self.address, BindAddress::Unix(_));
        let mut listening = self.sockets.iter().take(self.distinct);
        if let Some(first) = listening.next() {
            // Alone, so that it is told when another process listens here, be it with SO_REUSEPORT; then the others
            // may join. One that was inherited listens already.
            let is_first = shares_port && self.listening == 0;
            if is_first && !self.is_beside {
                first.set_reuse_port(false)?;
            }
            first.listen(backlog.into())?;
            if is_first {
                first.set_reuse_port(true)?;
            }
        }
        for socket in listening {
            socket.listen(backlog.into())?;
        }
        let descriptor = if shares_port {
            Descriptor::tcp
        } else {
            Descriptor::unix
        };
        drop(self.claim);
        let sockets = self.sockets.into_iter();
        let sockets = sockets.map(|socket| descriptor(socket.into()));
        Ok(Bound {
            address: self.address,
            sockets: sockets.collect(),
            distinct: self.distinct,
            is_lent: self.is_lent,
            file: self.file,
        })
    }
}
