//! Options of sockets to servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::bind;

use super::listen::set_transparent;
use super::{OptionError, Packets, TcpOptions, fresh};
use crate::connection::origin::ClientAddress;

/// Options of an upstream's sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// What they have in common with those to clients.
    pub tcp: TcpOptions,
    /// From which address servers are connected to; none: from the one that the system chooses.
    pub source: Option<Source>,
}

/// From which address a server is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From one of this machine's.
    Address(IpAddr),
    /// From the client's, which isn't this machine's (`IP_TRANSPARENT`). What comes back must be routed here.
    Client,
}

/// How a server is connected to, besides its address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dial<'a> {
    /// The upstream's options; none: the system's.
    pub options: Option<&'a ConnectOptions>,
    /// Who it is for; none: the proxy itself, as for a health check.
    pub client: Option<ClientAddress>,
}

impl ConnectOptions {
    /// Sets them on a socket that was just made, to connect to `to` for this client.
    pub(crate) fn set(
        &self,
        socket: &impl AsFd,
        to: SocketAddr,
        client: Option<ClientAddress>,
    ) -> Result<(), OptionError> {
        let packets = Packets::of(to);
        self.tcp.set(socket, packets)?;
        match (self.source, client) {
            (Some(Source::Address(source)), _) => {
                bind_to(socket, source, to).map_err(OptionError::of("source_address", source))
            }
            (Some(Source::Client), Some(ClientAddress::Tcp(client))) => {
                set_transparent(socket, packets, true)
                    .and_then(|()| bind_to(socket, client.ip(), to))
                    .map_err(OptionError::of("source_address", "client"))
            }
            // Who came by a unix socket, or is nobody, has no address.
            (Some(Source::Client) | None, _) => Ok(()),
        }
    }

    /// Tries them on sockets that are closed again.
    ///
    /// # Errors
    /// The first option that the kernel refuses.
    pub fn try_out(&self) -> Result<(), OptionError> {
        let packets = match self.source {
            Some(Source::Address(IpAddr::V6(_))) => Packets::V6,
            _ => Packets::V4,
        };
        // A kernel without the family says so at each connect.
        let Ok(socket) = fresh(packets) else {
            return Ok(());
        };
        self.tcp.set(&socket, packets)?;
        match self.source {
            None => Ok(()),
            Some(Source::Address(source)) => bind_to(&socket, source, (source, 0).into())
                .map_err(OptionError::of("source_address", source)),
            Some(Source::Client) => set_transparent(&socket, packets, true)
                .map_err(OptionError::of("source_address", "client")),
        }
    }
}

/// The kernel chooses the port at the connect, when it knows both ends: one port may go to several servers.
fn bind_to(socket: &impl AsFd, source: IpAddr, to: SocketAddr) -> io::Result<()> {
    if source.is_ipv4() != to.is_ipv4() {
        return Err(Errno::ADDRNOTAVAIL.into());
    }
    proxy_sys::set_bind_address_no_port(socket)?;
    Ok(bind(socket, &SocketAddr::new(source, 0))?)
}
