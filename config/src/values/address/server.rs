//! Where to connect.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use super::{
    AddressError, ListenAddress, is_host, of_one_machine, parse_port, plain_path, unix_path,
};
use crate::problems::refusal::Refusal;
use crate::raw::read::string;

const SERVER: &str =
    "\"HOST:PORT\", \"IP:PORT\", \"[IPV6]:PORT\", \"unix:/PATH\" or \"builtin:echo\"";
pub(super) const BUILTIN_ECHO: &str = "builtin:echo";

/// The address of an upstream's server; displayed as it is written, which is its label in metrics.
/// (Only IP addresses are brought into their one canonical form: `[0::1]:80` is displayed as
/// `[::1]:80`.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An IP address and a port that isn't 0.
    Socket(SocketAddr),
    /// A name that is still to be resolved.
    Name {
        /// The host: a syntactically valid name that is not an IP address.
        host: String,
        /// The port, never 0.
        port: u16,
    },
    /// A Unix socket: an absolute path of at most [`UNIX_PATH_BYTES_MAX`](crate::UNIX_PATH_BYTES_MAX) bytes.
    Unix(PathBuf),
    /// The echo server that is part of the program.
    BuiltinEcho,
}

impl ServerAddress {
    /// The same for addresses that differ only in how they are written.
    pub(crate) fn plain(&self) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(plain_path(path)),
            address => address.clone(),
        }
    }

    /// Whether it is a host at which other ports may be connected to.
    pub(crate) fn has_port(&self) -> bool {
        matches!(self, Self::Socket(_) | Self::Name { .. })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::BuiltinEcho => f.write_str(BUILTIN_ECHO),
        }
    }
}

/// The address of a server.
pub(crate) fn server_address(value: &DeValue<'_>) -> Result<ServerAddress, Refusal> {
    let text = string(value, SERVER)?;
    parse_server(text).map_err(|error| Refusal::new(SERVER, value).advise(error.to_string()))
}

/// The address of a server that some other file or answer than the configuration names: an IP address and a port, which a
/// server can have.
///
/// # Errors
/// What is wrong with it.
pub fn discovered_address(text: &str) -> Result<SocketAddr, String> {
    match parse_server(text) {
        Ok(ServerAddress::Socket(address)) => Ok(address),
        Ok(_) => Err("it is no IP address and port".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a server is called whose address is written like this, wherever that is shown.
///
/// # Errors
/// What is wrong with the address.
pub fn server_name(text: &str) -> Result<String, String> {
    match parse_server(text) {
        Ok(address) => Ok(address.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn parse_server(text: &str) -> Result<ServerAddress, AddressError> {
    if text == BUILTIN_ECHO {
        return Ok(ServerAddress::BuiltinEcho);
    }
    if text.starts_with("builtin:") {
        return Err(AddressError::Builtin);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(ServerAddress::Unix);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(AddressError::Port),
        Ok(address) => match address.ip().to_canonical() {
            ip if ip.is_unspecified() => {
                let loopback = ListenAddress::Tcp(address).local();
                Err(AddressError::Unspecified(ip, loopback))
            }
            _ => of_one_machine(address).map(ServerAddress::Socket),
        },
        Err(_) => parse_name(text),
    }
}

/// A host and port, where the host is not an IP address.
fn parse_name(text: &str) -> Result<ServerAddress, AddressError> {
    if text.contains("//") {
        return Err(AddressError::Scheme);
    }
    let (host, port) = text.rsplit_once(':').ok_or(AddressError::Port)?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(AddressError::Brackets);
    }
    let port = parse_port(port)
        .filter(|port| *port != 0)
        .ok_or(AddressError::Port)?;
    if !is_host(host) {
        return Err(AddressError::Host);
    }
    Ok(ServerAddress::Name {
        host: host.to_owned(),
        port,
    })
}
