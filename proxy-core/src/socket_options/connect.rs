//! Options of sockets to servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::bind;

use super::listen::set_transparent;
use super::{OptionError, Packets, TcpOptions, fresh};
use crate::connection::origin::ClientAddress;
use crate::upstream::address::ServerAddress;

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

impl Dial<'_> {
    /// Whether a server can be connected to from the address that its upstream asks for: a client may be announced that has none
    /// of the server's family, or none that anybody can have. The system would choose one of this machine's for it.
    pub(crate) fn suits(&self, to: &ServerAddress) -> bool {
        let source = self.options.and_then(|options| options.source);
        let (Some(Source::Client), Some(ClientAddress::Tcp(client)), ServerAddress::Tcp(to)) =
            (source, self.client, to)
        else {
            return true;
        };
        let ip = client.ip().to_canonical();
        let is_anybodys = match ip {
            IpAddr::V4(four) => four.is_broadcast(),
            IpAddr::V6(_) => false,
        };
        let is_nobodys = ip.is_unspecified() || ip.is_multicast() || is_anybodys;
        !is_nobodys && ip.is_ipv4() == to.is_ipv4()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_whose_address_nobody_can_have_is_not_connected_for() {
        let options = ConnectOptions {
            source: Some(Source::Client),
            ..ConnectOptions::default()
        };
        let to = |address: &str| ServerAddress::Tcp(address.parse().expect("an address"));
        let (four, six) = (to("10.0.0.1:80"), to("[2001:db8::1]:80"));
        for (client, suits_four, suits_six) in [
            ("192.0.2.1:5", true, false),
            ("[2001:db8::2]:5", false, true),
            ("[::ffff:192.0.2.1]:5", true, false),
            ("224.0.0.1:5", false, false),
            ("0.0.0.0:5", false, false),
            ("255.255.255.255:5", false, false),
            ("[::]:5", false, false),
            ("[ff02::1]:5", false, false),
        ] {
            let mut dial = Dial {
                options: Some(&options),
                client: Some(ClientAddress::Tcp(client.parse().expect("an address"))),
            };
            assert_eq!(
                (dial.suits(&four), dial.suits(&six)),
                (suits_four, suits_six),
                "{client}"
            );
            // A unix socket is connected to from nowhere, and so is one for nobody.
            assert!(dial.suits(&ServerAddress::Unix("/a".into())));
            dial.client = Some(ClientAddress::Unix);
            assert!(dial.suits(&four));
            let others = ConnectOptions::default();
            dial.options = Some(&others);
            dial.client = Some(ClientAddress::Tcp(client.parse().expect("an address")));
            assert!(dial.suits(&four));
        }
    }
}
