//! Options of listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::SockRef;

use super::{OptionError, Packets, TcpOptions, fresh};
use crate::listen::BindAddress;

/// Options of a listener's sockets, and of those of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// What its clients' sockets have, too.
    pub tcp: TcpOptions,
    /// Clients that may send bytes along with their SYN and wait to be accepted (`TCP_FASTOPEN`).
    pub fast_open: Option<u16>,
    /// How many seconds the kernel waits for a client's first bytes before it is accepted (`TCP_DEFER_ACCEPT`).
    pub defer_accept: Option<u16>,
    /// Whether it takes connections to addresses that aren't this machine's (`IP_TRANSPARENT`).
    pub transparent: bool,
}

impl ListenOptions {
    /// Sets them on a socket that was just made.
    pub(crate) fn set(&self, socket: &impl AsFd, packets: Packets) -> Result<(), OptionError> {
        self.tcp.set(socket, packets)?;
        self.change_own(&Self::default(), socket, packets)
    }

    /// Sets those that differ from `before` on a socket of this address that has those: it may listen already. What can't
    /// be set stays as it was.
    ///
    /// # Errors
    /// The first option that the kernel refuses.
    pub fn change(
        &self,
        before: &Self,
        socket: &impl AsFd,
        address: &BindAddress,
    ) -> Result<(), OptionError> {
        let Some(packets) = packets(address) else {
            return Ok(());
        };
        self.tcp.change(&before.tcp, socket, packets)?;
        self.change_own(before, socket, packets)
    }

    /// Tries them on a socket that is closed again, as one for this address would have them.
    ///
    /// # Errors
    /// The first option that the kernel refuses.
    pub fn try_out(&self, address: &BindAddress) -> Result<(), OptionError> {
        let Some(packets) = packets(address) else {
            return Ok(());
        };
        // A kernel without IPv6 says so where the address is bound.
        match fresh(packets) {
            Ok(socket) => self.set(&socket, packets),
            Err(_) => Ok(()),
        }
    }

    fn change_own(
        &self,
        before: &Self,
        socket: &impl AsFd,
        packets: Packets,
    ) -> Result<(), OptionError> {
        if self.fast_open != before.fast_open {
            let length = self.fast_open.unwrap_or_default();
            let set = proxy_sys::set_fast_open(socket, length);
            set.map_err(OptionError::of("fast_open", length))?;
        }
        if self.defer_accept != before.defer_accept {
            let seconds = self.defer_accept.unwrap_or_default();
            let set = proxy_sys::set_defer_accept(socket, seconds);
            set.map_err(OptionError::of("defer_accept", seconds))?;
        }
        if self.transparent != before.transparent {
            let set = set_transparent(socket, packets, self.transparent);
            set.map_err(OptionError::of("transparent", self.transparent))?;
        }
        Ok(())
    }
}

/// None for a unix socket.
fn packets(address: &BindAddress) -> Option<Packets> {
    match address {
        BindAddress::Tcp(SocketAddr::V4(_)) => Some(Packets::V4),
        BindAddress::Tcp(SocketAddr::V6(_)) => Some(Packets::V6),
        BindAddress::Every(_) => Some(Packets::Both),
        BindAddress::Unix(_) => None,
    }
}

pub(super) fn set_transparent(socket: &impl AsFd, packets: Packets, on: bool) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match packets {
        Packets::V4 => socket.set_ip_transparent_v4(on),
        Packets::V6 | Packets::Both => socket.set_ip_transparent_v6(on),
    }
}
