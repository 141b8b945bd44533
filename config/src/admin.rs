//! `[admin]`: where metrics and health are served.

use std::net::{Ipv4Addr, SocketAddr};

use crate::address::{BindAddress, socket_address};
use crate::claims::Claims;
use crate::section::Section;

/// The admin server's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `listen`: the address of the admin server. Default `"127.0.0.1:9600"`; with port 0 the
    /// kernel chooses one.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
        }
    }
}

pub(crate) fn read(section: &mut Section<'_>, claims: &mut Claims) -> Admin {
    let default = Admin::default();
    let listen = section.or("listen", default.listen, socket_address);
    // It is the first that asks.
    let _ = claims.claim(&BindAddress::Tcp(listen), "admin.listen");
    Admin { listen }
}
