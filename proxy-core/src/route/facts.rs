//! What is known of a connection when it is decided where it goes.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::connection::origin::{ClientAddress, Origin};
use crate::prologue::tls::Alpn;
use crate::route::taken::Route;

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
