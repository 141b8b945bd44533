//! `[admin]`: where metrics and health are served.

use std::net::Ipv4Addr;

use toml::de::DeValue;

use crate::address::{ListenAddress, is_host, listen_address};
use crate::claims::Claims;
use crate::refusal::Refusal;
use crate::section::Section;
use crate::value::string;

/// The admin server's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `listen`: the address of the admin server. Default `"127.0.0.1:9600"`; with port 0 the
    /// kernel chooses one. `[::]` and `*` are as a listener's.
    pub listen: ListenAddress,
    /// `hosts`: at most [`ADMIN_HOSTS_MAX`] names by which people and programs ask the admin
    /// server, besides IP addresses, names without a dot and the machine's own; `"*"` is every
    /// name. Absent: none.
    pub hosts: Vec<String>,
}

/// The most names of the admin server.
pub const ADMIN_HOSTS_MAX: usize = 64;

const HOST: &str = "the name of a host, such as \"corelane.example\", or \"*\"";
const HOSTS_ADVICE: &str = "write names, as in hosts = [\"corelane.example\"]";

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 9600).into()),
            hosts: Vec::new(),
        }
    }
}

pub(crate) fn read(section: &mut Section<'_>, claims: &mut Claims) -> Admin {
    let default = Admin::default();
    let listen = section.or("listen", default.listen, listen_address);
    // It is the first that asks.
    let _ = claims.claim(&listen.into(), "admin.listen");
    let hosts = section.node("hosts").map_or_else(Vec::new, |node| {
        node.elements(ADMIN_HOSTS_MAX, HOSTS_ADVICE)
    });
    let hosts = hosts.iter().filter_map(|node| node.read(host)).collect();
    Admin { listen, hosts }
}

/// A name by which a server is asked, without a port.
fn host(value: &DeValue<'_>) -> Result<String, Refusal> {
    let name = string(value, HOST)?;
    if name == "*" || is_host(name) {
        Ok(name.to_owned())
    } else {
        let advice = "leave out scheme and port; IP addresses are accepted as they are".to_owned();
        Err(Refusal::new(HOST, value).advise(advice))
    }
}
