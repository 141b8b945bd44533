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
    /// As many as were asked for.
    pub sockets: Vec<Descriptor>,
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
        let shares_port = self.file.is_none();
        let mut listening = self.sockets.iter();
        if let Some(first) = listening.next() {
            // Alone, so that it is told when another process listens here, be it with SO_REUSEPORT; then the others
            // may join.
            if shares_port && !self.is_beside {
                first.set_reuse_port(false)?;
            }
            first.listen(backlog.into())?;
            if shares_port {
                first.set_reuse_port(true)?;
            }
        }
        // The descriptors of a unix socket are one socket, which listens already.
        for socket in listening.filter(|_| shares_port) {
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
            file: self.file,
        })
    }
}
