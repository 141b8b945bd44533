//! `[upstreams.NAME.discovery]`: who says which servers there are.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};
use crate::raw::section::Section;
use crate::values::address::{ServerAddress, is_host, parse_server};

/// The most name servers of one upstream.
pub const NAMESERVERS_MAX: usize = 8;

/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// Who says which servers there are, beside those that are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Who is asked.
    pub source: DiscoverySource,
    /// `nameservers`: who is asked instead of the system's name servers; empty if those are.
    pub nameservers: Vec<SocketAddr>,
    /// `interval`: how often a page is asked for.
    pub interval: Duration,
}

/// A source of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoverySource {
    /// `dns`: name servers.
    Dns(DnsName),
    /// `file`: a file that lists servers, an absolute path.
    File(PathBuf),
    /// `http`: a page that lists servers.
    Http(HttpUrl),
}

/// What name servers are asked for; displayed as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsName {
    /// `_service._proto.domain`: records of type SRV.
    Services(String),
    /// `host:port`: each address of the host is a server.
    Addresses {
        /// The host, no IP address.
        host: String,
        /// The port, never 0.
        port: u16,
    },
}

/// `http://host:port/path?query`; displayed as it is written, with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port, 80 if it isn't written.
    pub port: u16,
    /// Path and query, which begin with a slash.
    pub path: String,
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services(name) => f.write_str(name),
            Self::Addresses { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl HttpUrl {
    /// Host and port, as the header `Host` has them.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        match (host.contains(':'), port) {
            (true, port) => format!("[{host}]:{port}"),
            (false, 80) => host.clone(),
            (false, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

impl Read for DnsName {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        const EXPECTED: &str = "\"_SERVICE._tcp.DOMAIN\" or \"HOST:PORT\"";
        let text = string(value, EXPECTED)?;
        let refuse = || Refusal::new(EXPECTED, value);
        if text.starts_with('_') && !text.contains(':') {
            let is_service = text
                .split('.')
                .filter(|label| label.starts_with('_'))
                .count()
                >= 2;
            return if is_service && is_host(text) {
                Ok(Self::Services(text.to_owned()))
            } else {
                Err(refuse())
            };
        }
        match parse_server(text) {
            Ok(ServerAddress::Name { host, port }) => Ok(Self::Addresses { host, port }),
            Ok(_) => {
                Err(refuse()
                    .advise("an address needs no discovery; put it into `servers`".to_owned()))
            }
            Err(error) => Err(refuse().advise(error.to_string())),
        }
    }
}

impl Read for HttpUrl {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        const EXPECTED: &str =
            "a URL such as \"http://127.0.0.1:8500/v1/health/service/web?passing\"";
        let text = string(value, EXPECTED)?;
        if text.starts_with("https://") {
            let advice = "there is no TLS to sources; have one on this machine, such as an agent or a sidecar, speak it";
            return Err(Refusal::new(EXPECTED, value).advise(advice.to_owned()));
        }
        parse_url(text).ok_or_else(|| Refusal::new(EXPECTED, value))
    }
}

fn parse_url(text: &str) -> Option<HttpUrl> {
    let rest = text.strip_prefix("http://")?;
    let is_plain = rest
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
    if !is_plain || text.len() > URL_BYTES_MAX {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = match path {
        "" => "/".to_owned(),
        path if path.starts_with('?') => format!("/{path}"),
        path => path.to_owned(),
    };
    if let Ok(address) = authority.parse::<SocketAddr>() {
        let (host, port) = (address.ip().to_string(), address.port());
        return (port != 0).then_some(HttpUrl { host, port, path });
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
        None => (authority, 80),
    };
    let is_valid = is_host(host) || host.parse::<std::net::Ipv4Addr>().is_ok();
    is_valid.then(|| HttpUrl {
        host: host.to_owned(),
        port,
        path,
    })
}

/// Reads the section of an upstream, if it is written.
pub(crate) fn read(upstream: &mut Section<'_>) -> Option<Discovery> {
    upstream
        .optional_section("discovery", read_section)
        .flatten()
}

/// Nothing where the source is not known; a problem was found then.
pub(crate) fn read_section(section: &mut Section<'_>) -> Option<Discovery> {
    let written = ["dns", "file", "http"].map(|key| section.node(key).map(|node| (key, node)));
    let dns = section.optional::<DnsName>("dns").map(DiscoverySource::Dns);
    let file = section.optional::<AbsoluteFile>("file");
    let file = file.map(|AbsoluteFile(path)| DiscoverySource::File(path));
    let http = section
        .optional::<HttpUrl>("http")
        .map(DiscoverySource::Http);
    let mut nameservers = Vec::new();
    for node in section.elements("nameservers") {
        nameservers.extend(node.read(name_server));
    }
    let interval = section.value("interval");
    let mut written = written.into_iter().flatten();
    match (written.next(), written.next()) {
        (None, _) => section.miss("dns"),
        (Some((first, _)), Some((second, node))) => node.report(format!(
            "`{}` is one source too many beside `{first}`; write `{first}` or `{second}`, or an upstream for each",
            node.path()
        )),
        _ => {}
    }
    Some(Discovery {
        source: dns.or(file).or(http)?,
        nameservers,
        interval,
    })
}

/// The path of a file that lists servers.
struct AbsoluteFile(PathBuf);

impl Read for AbsoluteFile {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        const EXPECTED: &str = "an absolute path of a file, as in \"/etc/corelane/servers.json\"";
        let text = string(value, EXPECTED)?;
        if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
            return Err(Refusal::new(EXPECTED, value));
        }
        Ok(Self(text.into()))
    }
}

fn name_server(value: &DeValue<'_>) -> Result<SocketAddr, Refusal> {
    const EXPECTED: &str = "an IP address and a port, as in \"127.0.0.1:8600\"";
    let text = string(value, EXPECTED)?;
    match parse_server(text) {
        Ok(ServerAddress::Socket(address)) => Ok(address),
        _ => Err(Refusal::new(EXPECTED, value)),
    }
}
