//! Where to listen.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use toml::de::DeValue;

use super::{AddressError, of_one_machine, parse_port, plain_path, unix_path};
use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};
use crate::values::ports::range as range_of;

/// The longest name of a socket of systemd's (`FDNAME_MAX` of its `fd-util.h`).
pub(crate) const FD_NAME_BYTES_MAX: usize = 255;

/// The most ports of a range.
pub(crate) const BIND_PORTS_MAX: usize = 1024;

const LISTEN: &str =
    "an IP address and port such as \"127.0.0.1:9600\", \"[::1]:9600\" or \"*:9600\"";
const BIND: &str = "\"IP:PORT\", \"[IPV6]:PORT\", \"*:PORT\", \"unix:/PATH\" or \"fd:NAME\"";

/// An address of TCP to accept connections on; displayed as it is written. The variants are those of
/// [`BindAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// `*:PORT`.
    Every(u16),
}

impl ListenAddress {
    /// Where a client on this machine connects to. With port 0 that is not known.
    pub fn local(self) -> SocketAddr {
        match self {
            Self::Tcp(address) if !address.ip().is_unspecified() => address,
            Self::Tcp(address) if address.is_ipv6() => (Ipv6Addr::LOCALHOST, address.port()).into(),
            Self::Tcp(address) => (Ipv4Addr::LOCALHOST, address.port()).into(),
            Self::Every(port) => (Ipv4Addr::LOCALHOST, port).into(),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Every(port) => write!(f, "*:{port}"),
        }
    }
}

impl From<ListenAddress> for BindAddress {
    fn from(address: ListenAddress) -> Self {
        match address {
            ListenAddress::Tcp(address) => Self::Tcp(address),
            ListenAddress::Every(port) => Self::Every(port),
        }
    }
}

/// An address to accept connections on; displayed as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// An IP address and port; port 0 lets the kernel choose one. `[::]` is every IPv6 address and no
    /// IPv4 one.
    Tcp(SocketAddr),
    /// `*:PORT`: every address of the machine, IPv4 and IPv6, on one socket; port 0 as above. It is
    /// written as `ss` shows such a socket. HAProxy (`v4v6`), nginx (`ipv6only=off`) and Envoy
    /// (`ipv4_compat`) have a flag beside `[::]`, which could also stand beside an address where it
    /// means nothing; and `[::]` alone depends on the system's setting, or is easily misread.
    Every(u16),
    /// A Unix socket: an absolute path of at most [`UNIX_PATH_BYTES_MAX`](crate::UNIX_PATH_BYTES_MAX) bytes.
    Unix(PathBuf),
    /// Sockets that systemd has made, by the name that their unit gives them (`FileDescriptorName=`): where they listen is known
    /// at the start only.
    Named(String),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Every(port) => write!(f, "*:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Named(name) => write!(f, "fd:{name}"),
        }
    }
}

impl BindAddress {
    /// The same for addresses that differ only in how they are written.
    pub(crate) fn plain(&self) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(plain_path(path)),
            address => address.clone(),
        }
    }

    /// Whether the kernel chooses the port.
    pub(crate) fn is_chosen_by_kernel(&self) -> bool {
        match self {
            Self::Tcp(address) => address.port() == 0,
            Self::Every(port) => *port == 0,
            Self::Unix(_) | Self::Named(_) => false,
        }
    }
}

impl Read for ListenAddress {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        let text = string(value, LISTEN)?;
        parse_listen(text).map_err(|error| match error {
            // That is what is expected, said once more.
            AddressError::NotAnIp => Refusal::new(LISTEN, value),
            error => Refusal::new(LISTEN, value).advise(error.to_string()),
        })
    }
}

/// What a listener's address is called that is written like this, wherever that is shown.
///
/// # Errors
/// What is wrong with it.
pub fn bind_name(text: &str) -> Result<String, String> {
    match parse_binds(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What the admin server's address is called that is written like this.
///
/// # Errors
/// What is wrong with it.
pub fn listen_name(text: &str) -> Result<String, String> {
    match parse_listen(text) {
        Ok(address) => Ok(address.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// An address to bind.
pub(crate) fn bind_addresses(value: &DeValue<'_>) -> Result<Vec<BindAddress>, Refusal> {
    let text = string(value, BIND)?;
    parse_binds(text).map_err(|error| Refusal::new(BIND, value).advise(error.to_string()))
}

/// The addresses of a listener: one, or as many as its ports.
pub(super) fn parse_binds(text: &str) -> Result<Vec<BindAddress>, AddressError> {
    let range = text
        .rsplit_once(':')
        .filter(|(host, ports)| *host != "fd" && !text.starts_with("unix:") && ports.contains('-'));
    let Some((host, ports)) = range else {
        return Ok(vec![parse_bind(text)?]);
    };
    let ports = range_of(ports).ok_or(AddressError::Ports)?;
    if *ports.start() == 0 || ports.len() > BIND_PORTS_MAX {
        return Err(AddressError::Ports);
    }
    ports
        .map(|port| parse_bind(&format!("{host}:{port}")))
        .collect()
}

pub(super) fn parse_bind(text: &str) -> Result<BindAddress, AddressError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(BindAddress::Unix);
    }
    if let Some(name) = text.strip_prefix("fd:") {
        return fd_name(name).map(BindAddress::Named);
    }
    parse_listen(text).map(BindAddress::from)
}

fn fd_name(name: &str) -> Result<String, AddressError> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    match (1..=FD_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fine) {
        true => Ok(name.to_owned()),
        false => Err(AddressError::FdName),
    }
}

pub(super) fn parse_listen(text: &str) -> Result<ListenAddress, AddressError> {
    if let Some(port) = text.strip_prefix("*:") {
        return parse_port(port)
            .map(ListenAddress::Every)
            .ok_or(AddressError::ListenPort);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => {
            if let (SocketAddr::V6(_), IpAddr::V4(ip)) = (address, address.ip().to_canonical()) {
                // The kernel refuses it on a socket for IPv6 alone.
                return Err(AddressError::Mapped((ip, address.port()).into()));
            }
            of_one_machine(address).map(ListenAddress::Tcp)
        }
        Err(_) if text.contains('%') => Err(AddressError::Interface),
        Err(_) if is_ip_of(text) => Err(AddressError::ListenPort),
        Err(_) => Err(AddressError::NotAnIp),
    }
}

/// Whether there is an IP address before the last colon: what is wrong is behind it.
fn is_ip_of(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        format!("{host}:0").parse::<SocketAddr>().is_ok() && !port.is_empty()
    })
}
