//! Where to listen and where to connect.

pub(crate) mod bind;
mod server;

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

pub(crate) use self::bind::bind_addresses;
use self::bind::{BIND_PORTS_MAX, FD_NAME_BYTES_MAX};
pub use self::bind::{BindAddress, ListenAddress, bind_name, listen_name};
use self::server::BUILTIN_ECHO;
pub use self::server::{ServerAddress, discovered_address, server_name};
pub(crate) use self::server::{parse_server, server_address};

/// The longest path of a Unix socket, in bytes: what `sockaddr_un` holds (108) less its terminating
/// zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// The longest name of a host and the longest of its labels, in bytes (RFC 1035, 2.3.4).
pub(crate) const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

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
    #[error("a port is a number from 1 to 65535, or 0 for any that is free")]
    ListenPort,
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
    #[error("the path of a socket has no control characters")]
    Control,
    #[error("the path of a socket has at most {UNIX_PATH_BYTES_MAX} bytes")]
    LongPath,
    #[error(
        "the name of a socket of systemd's has letters, digits, \".\", \"_\", \"@\" and \"-\", {FD_NAME_BYTES_MAX} at most"
    )]
    FdName,
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
    // It is shown in logs, of which each line is one of the proxy's own.
    if path.contains(char::is_control) {
        return Err(AddressError::Control);
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(AddressError::LongPath);
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests;
