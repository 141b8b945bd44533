//! The epoll that a load's sockets share.

use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};

/// Whose descriptor an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Server,
    Client,
}

/// What is packed into an event's 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) owner: Owner,
    pub(crate) index: usize,
}

impl Token {
    fn data(self) -> epoll::EventData {
        epoll::EventData::new_u64((self.index as u64) << 1 | u64::from(self.owner == Owner::Client))
    }

    pub(crate) fn unpack(bits: u64) -> Self {
        let owner = if bits & 1 == 1 {
            Owner::Client
        } else {
            Owner::Server
        };
        Self {
            owner,
            index: (bits >> 1) as usize,
        }
    }
}

/// An epoll whose events say which socket they are about; level-triggered, as that needs no second read to find a socket empty.
pub struct Poller {
    pub(crate) epoll: OwnedFd,
}

impl Poller {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Watches the socket of client `index`, for clients that are written elsewhere.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` returns.
    pub fn watch(
        &self,
        socket: impl AsFd,
        index: usize,
        flags: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        self.add(socket, Owner::Client, index, flags)
    }

    /// Waits for something else of a socket that is watched.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` returns.
    pub fn rewatch(
        &self,
        socket: impl AsFd,
        index: usize,
        flags: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        self.change(socket, Owner::Client, index, flags)
    }

    pub(crate) fn add(
        &self,
        fd: impl AsFd,
        owner: Owner,
        index: usize,
        flags: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, Token { owner, index }.data(), flags)
    }

    pub(crate) fn change(
        &self,
        fd: impl AsFd,
        owner: Owner,
        index: usize,
        flags: epoll::EventFlags,
    ) -> rustix::io::Result<()> {
        epoll::modify(&self.epoll, fd, Token { owner, index }.data(), flags)
    }
}
