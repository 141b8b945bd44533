//! What is known of a connection when it is decided where it goes.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::carry::{Error, Fields, Writer};
use crate::connection::origin::{ClientAddress, Origin};
use crate::prologue::tls::{ALPN_BYTES_MAX, Alpn};
use crate::route::taken::{Route, RouteNames};

/// Who a client is and what it asks for. It is kept for as long as the connection lives, and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who has connected.
    pub peer: ClientAddress,
    /// The client: the one that the peer announced, or else the peer.
    pub client: ClientAddress,
    /// What the client connected to, as the peer announced it.
    pub announced: Option<SocketAddr>,
    /// The name that the client asked for under TLS.
    pub sni: Option<Box<str>>,
    /// The protocols that it offered under TLS.
    pub alpn: Alpn,
    /// The port that it has connected to; known only where a route asks for it.
    pub port: Option<u16>,
    /// The route that it took; none where there are no routes, or none took it.
    pub route: Option<Arc<Route>>,
}

impl Facts {
    /// Those of a client of which nothing is known but its connection.
    pub fn of(origin: Origin) -> Self {
        Self {
            peer: origin.peer,
            client: origin.peer,
            announced: None,
            sni: None,
            alpn: Alpn::default(),
            port: None,
            route: None,
        }
    }
}

mod tag {
    pub(super) const PEER: u8 = 0;
    pub(super) const CLIENT: u8 = 1;
    pub(super) const ANNOUNCED: u8 = 2;
    pub(super) const SNI: u8 = 3;
    pub(super) const ALPN: u8 = 4;
    pub(super) const PORT: u8 = 5;
    pub(super) const ROUTE: u8 = 6;
}

impl Facts {
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.address(tag::PEER, self.peer.tcp());
        out.address(tag::CLIENT, self.client.tcp());
        out.address(tag::ANNOUNCED, self.announced);
        out.text(tag::SNI, self.sni.as_deref().unwrap_or_default());
        out.bytes(tag::ALPN, self.alpn.as_bytes());
        out.maybe_number(tag::PORT, self.port.map(Into::into));
        out.text(
            tag::ROUTE,
            self.route.as_ref().map_or("", |route| &route.name),
        );
    }

    /// Routes are those of `names`, by their names.
    pub(crate) fn decode(mut fields: Fields<'_>, names: &RouteNames) -> Result<Self, Error> {
        let peer = ClientAddress::of(fields.address(tag::PEER, "a peer")?);
        let client = ClientAddress::of(fields.address(tag::CLIENT, "a client")?);
        let announced = fields.address(tag::ANNOUNCED, "an address that was announced")?;
        let sni = fields.text(tag::SNI, "a server name")?;
        let alpn = match fields.bytes(tag::ALPN, ALPN_BYTES_MAX)? {
            [] => Alpn::default(),
            list => Alpn::of_list(list).ok_or(Error::Bad("protocols"))?,
        };
        let port = fields.maybe_number(tag::PORT, "a port")?;
        let port = port.map(|port| u16::try_from(port).map_err(|_| Error::Bad("a port")));
        let route = fields.text(tag::ROUTE, "a route")?;
        let port = port.transpose()?;
        fields.finish()?;
        Ok(Self {
            peer,
            client,
            announced,
            sni: (!sni.is_empty()).then(|| sni.into()),
            alpn,
            port,
            route: (!route.is_empty()).then(|| names.known(route)),
        })
    }
}
