//! Where to listen and where to connect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};
use crate::values::ports::range as range_of;

/// The longest path of a Unix socket, in bytes: what `sockaddr_un` holds (108) less its terminating
/// zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// The longest name of a socket of systemd's (`FDNAME_MAX` of its `fd-util.h`).
const FD_NAME_BYTES_MAX: usize = 255;

/// The longest name of a host and the longest of its labels, in bytes (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The most ports of a range.
const BIND_PORTS_MAX: usize = 1024;

const LISTEN: &str =
    "an IP address and port such as \"127.0.0.1:9600\", \"[::1]:9600\" or \"*:9600\"";
const BIND: &str = "\"IP:PORT\", \"[IPV6]:PORT\", \"*:PORT\", \"unix:/PATH\" or \"fd:NAME\"";
const SERVER: &str =
    "\"HOST:PORT\", \"IP:PORT\", \"[IPV6]:PORT\", \"unix:/PATH\" or \"builtin:echo\"";
const BUILTIN_ECHO: &str = "builtin:echo";

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
    /// A Unix socket: an absolute path of at most [`UNIX_PATH_BYTES_MAX`] bytes.
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
    /// A Unix socket: an absolute path of at most [`UNIX_PATH_BYTES_MAX`] bytes.
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

/// An address to bind.
pub(crate) fn bind_addresses(value: &DeValue<'_>) -> Result<Vec<BindAddress>, Refusal> {
    let text = string(value, BIND)?;
    parse_binds(text).map_err(|error| Refusal::new(BIND, value).advise(error.to_string()))
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

/// What is wrong with an address, or what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error(
        "a listener has an IP address: \"0.0.0.0:PORT\" is every IPv4 one, \"[::]:PORT\" every IPv6 \
         one, \"*:PORT\" every one of both"
    )]
    NotAnIp,
    #[error("write the IPv4 address itself, as in \"{0}\"")]
    Mapped(SocketAddr),
    #[error(
        "a link-local address needs the number of its interface (`ip link` shows it), as in \
         \"[fe80::1%2]:80\""
    )]
    Interface,
    #[error(
        "write the lower port of a range first, from 1, and no more than {BIND_PORTS_MAX} ports, as in \"[::]:8000-8010\""
    )]
    Ports,
    #[error("add a port from 1 to 65535")]
    Port,
    #[error("a multicast address has no connections of TCP; write the address of one machine")]
    Multicast,
    #[error("a broadcast address has no connections of TCP; write the address of one machine")]
    Broadcast,
    #[error(
        "\"{0}\" is where to listen, not where to connect to; write the server's address, as in \"{1}\""
    )]
    Unspecified(IpAddr, SocketAddr),
    #[error("leave out the scheme")]
    Scheme,
    #[error("put the IPv6 address in brackets")]
    Brackets,
    #[error("this is neither an IP address nor the name of a host")]
    Host,
    #[error("the only builtin server is \"{BUILTIN_ECHO}\"")]
    Builtin,
    #[error("the path of a socket is absolute and names a file")]
    NotAbsolute,
    #[error("the path of a socket has at most {UNIX_PATH_BYTES_MAX} bytes")]
    LongPath,
    #[error(
        "the name of a socket of systemd's has letters, digits, \".\", \"_\", \"@\" and \"-\", {FD_NAME_BYTES_MAX} at most"
    )]
    FdName,
}

/// The addresses of a listener: one, or as many as its ports.
fn parse_binds(text: &str) -> Result<Vec<BindAddress>, AddressError> {
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

fn parse_bind(text: &str) -> Result<BindAddress, AddressError> {
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

fn parse_listen(text: &str) -> Result<ListenAddress, AddressError> {
    if let Some(port) = text.strip_prefix("*:") {
        return parse_port(port)
            .map(ListenAddress::Every)
            .ok_or(AddressError::NotAnIp);
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
        Err(_) => Err(AddressError::NotAnIp),
    }
}

/// An address that can have connections of TCP.
fn of_one_machine(address: SocketAddr) -> Result<SocketAddr, AddressError> {
    match (address.ip().to_canonical(), address) {
        (ip, _) if ip.is_multicast() => Err(AddressError::Multicast),
        (IpAddr::V4(ip), _) if ip.is_broadcast() => Err(AddressError::Broadcast),
        (IpAddr::V6(ip), SocketAddr::V6(v6))
            if ip.is_unicast_link_local() && v6.scope_id() == 0 =>
        {
            Err(AddressError::Interface)
        }
        _ => Ok(address),
    }
}

/// A port in digits, from 0.
fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
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

/// Whether a name can be one of a host: letters, digits, hyphens, and the underscores that
/// container networks put in. A last label of digits only is a mistyped IPv4 address (RFC 3696, 2),
/// not a name.
pub(crate) fn is_host(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_label = |label: &str| {
        let length = (1..=LABEL_BYTES_MAX).contains(&label.len());
        length && label.bytes().all(valid) && !label.starts_with('-') && !label.ends_with('-')
    };
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= HOST_BYTES_MAX
        && host.split('.').all(is_label)
        && !host.rsplit('.').next().is_some_and(numeric)
}

/// A path of a socket without "." and "..": two that differ only in these name the same file, unless links stand in
/// between.
pub(crate) fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            component => plain.push(component),
        }
    }
    plain
}

pub(crate) fn unix_path(path: &str) -> Result<PathBuf, AddressError> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(AddressError::NotAbsolute);
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(AddressError::LongPath);
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_display_as_they_are_written() {
        for text in [
            "10.0.0.1:6379",
            "[::1]:6379",
            "[fe80::1%2]:6379",
            "localhost:1",
            "redis_1.example-net.:65535",
            "0.pool.ntp.org:123",
            "unix:/run/redis.sock",
            "builtin:echo",
        ] {
            assert_eq!(
                parse_server(text).map(|address| address.to_string()),
                Ok(text.to_owned())
            );
        }
        assert!(
            parse_server("db:5432")
                == Ok(ServerAddress::Name {
                    host: "db".to_owned(),
                    port: 5432
                })
        );
        assert!(matches!(
            parse_server("10.0.0.1:80"),
            Ok(ServerAddress::Socket(_))
        ));
    }

    #[test]
    fn says_what_is_wrong_with_a_server() {
        let long_host = format!("{}a:80", "a.".repeat(127));
        let long_label = format!("{}:80", "a".repeat(64));
        let long_path = format!("unix:/{}", "a".repeat(UNIX_PATH_BYTES_MAX));
        for (text, error) in [
            ("", AddressError::Port),
            ("10.0.0.1", AddressError::Port),
            ("10.0.0.1:0", AddressError::Port),
            ("db", AddressError::Port),
            ("db:", AddressError::Port),
            ("db:0", AddressError::Port),
            ("db:+80", AddressError::Port),
            ("db:65536", AddressError::Port),
            ("[::1]", AddressError::Port),
            ("http://db:80", AddressError::Scheme),
            ("::1:80", AddressError::Brackets),
            (":80", AddressError::Host),
            ("10.0.0.256:80", AddressError::Host),
            ("-a:80", AddressError::Host),
            ("a..b:80", AddressError::Host),
            ("a b:80", AddressError::Host),
            ("bücher:80", AddressError::Host),
            (&long_host, AddressError::Host),
            (&long_label, AddressError::Host),
            ("builtin:ech", AddressError::Builtin),
            ("unix:", AddressError::NotAbsolute),
            ("unix:run/x", AddressError::NotAbsolute),
            ("unix:/run/", AddressError::NotAbsolute),
            ("unix:/a\0b", AddressError::NotAbsolute),
            (&long_path, AddressError::LongPath),
        ] {
            assert_eq!(parse_server(text), Err(error), "{text}");
        }
    }

    #[test]
    fn binds_are_addresses_or_sockets() {
        for text in [
            "0.0.0.0:80",
            "[::]:0",
            "[fe80::1%2]:80",
            "*:80",
            "*:0",
            "unix:/run/a.sock",
        ] {
            assert_eq!(
                parse_bind(text).map(|address| address.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "",
            "localhost:80",
            ":80",
            "*",
            "*:",
            "*:+80",
            "*:65536",
            "80",
            "1.2.3.4",
            "builtin:echo",
        ] {
            assert_eq!(parse_bind(text), Err(AddressError::NotAnIp), "{text}");
        }
        assert_eq!(parse_bind("unix:a.sock"), Err(AddressError::NotAbsolute));
        let mapped = AddressError::Mapped("10.0.0.1:80".parse().unwrap());
        assert_eq!(parse_bind("[::ffff:10.0.0.1]:80"), Err(mapped));
        for text in ["[fe80::1]:80", "[fe80::1%eth0]:80"] {
            assert_eq!(parse_bind(text), Err(AddressError::Interface), "{text}");
        }
    }
}
