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
pub(crate) const URL_BYTES_MAX: usize = 2048;

/// Who says which servers there are, beside those that are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Who is asked.
    pub source: DiscoverySource,
    /// `nameservers`: who is asked instead of the system's name servers; empty if those are.
    pub nameservers: Vec<SocketAddr>,
    /// `interval`: how often a page is asked for.
    pub interval: Duration,
    /// `max_ttl`: how long an answer of name servers is good for, at most.
    pub max_ttl: Duration,
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
    /// `kubernetes`: a service of Kubernetes.
    Kubernetes(Kubernetes),
}

/// A service of Kubernetes, and who is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// `service`: its name.
    pub service: String,
    /// `namespace`: absent: the pod's.
    pub namespace: Option<String>,
    /// `port`: the port of its pods, by name or in digits; absent: the only one.
    pub port: Option<String>,
    /// `api`: the API server; absent: the one that a pod is told of.
    pub api: Option<HttpUrl>,
    /// `token_file`: an absolute path; absent: the pod's.
    pub token_file: Option<PathBuf>,
    /// `ca_file`: an absolute path; absent: the pod's.
    pub ca_file: Option<PathBuf>,
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
    /// Whether it is `https://`.
    pub secure: bool,
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port, 80 or 443 if it isn't written.
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
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false if *port == usual_port(self.secure) => host.clone(),
            false => format!("{host}:{port}"),
        }
    }
}

fn usual_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl Read for DnsName {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        const EXPECTED: &str = "\"_SERVICE._tcp.DOMAIN\" or \"HOST:PORT\"";
        let text = string(value, EXPECTED)?;
        let refuse = || Refusal::new(EXPECTED, value);
        if text.starts_with('_') && !text.contains(':') {
            return if is_service(text) && is_host(text) {
                Ok(Self::Services(text.to_owned()))
            } else {
                Err(refuse())
            };
        }
        if let Some((service, _)) = text.split_once(':').filter(|(name, _)| is_service(name)) {
            let advice =
                format!("records of type SRV have ports of their own; write \"{service}\"");
            return Err(refuse().advise(advice));
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

/// Whether a name has the two labels of a service.
fn is_service(name: &str) -> bool {
    let labels = name.split('.');
    labels.filter(|label| label.starts_with('_')).count() >= 2
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
    let (secure, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
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
        return (port != 0).then_some(HttpUrl {
            secure,
            host,
            port,
            path,
        });
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
        None => (authority, usual_port(secure)),
    };
    let is_valid = is_host(host) || host.parse::<std::net::Ipv4Addr>().is_ok();
    is_valid.then(|| HttpUrl {
        secure,
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
    let written = ["dns", "file", "http", "kubernetes"];
    let written = written.map(|key| section.node(key).map(|node| (key, node)));
    let dns = section.optional::<DnsName>("dns").map(DiscoverySource::Dns);
    let file = section.optional::<AbsoluteFile>("file");
    let file = file.map(|AbsoluteFile(path)| DiscoverySource::File(path));
    let http = section
        .optional::<HttpUrl>("http")
        .map(DiscoverySource::Http);
    let kubernetes = section.optional_section("kubernetes", read_kubernetes);
    let kubernetes = kubernetes.flatten().map(DiscoverySource::Kubernetes);
    let mut nameservers = Vec::new();
    for node in section.elements("nameservers") {
        nameservers.extend(node.read(name_server));
    }
    let interval = section.value("interval");
    let max_ttl = section.value("max_ttl");
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
        source: dns.or(file).or(http).or(kubernetes)?,
        nameservers,
        interval,
        max_ttl,
    })
}

/// Nothing where the service is not known; a problem was found then.
fn read_kubernetes(section: &mut Section<'_>) -> Option<Kubernetes> {
    let mut name = |key| {
        section
            .node(key)
            .and_then(|node| node.read(kubernetes_name))
    };
    let [service, namespace] = ["service", "namespace"].map(&mut name);
    let port = section.node("port");
    let port = port.and_then(|node| node.read(kubernetes_port));
    let api = section.node("api").and_then(|node| node.read(api));
    let mut file = |key| {
        section
            .optional::<AbsoluteFile>(key)
            .map(|AbsoluteFile(path)| path)
    };
    let [token_file, ca_file] = ["token_file", "ca_file"].map(&mut file);
    Some(Kubernetes {
        service: service?,
        namespace,
        port,
        api,
        token_file,
        ca_file,
    })
}

fn kubernetes_name(value: &DeValue<'_>) -> Result<String, Refusal> {
    const EXPECTED: &str = "a name of 1 to 63 of the characters a-z 0-9 -";
    let text = string(value, EXPECTED)?;
    let is_name = is_kubernetes_name(text);
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| Refusal::new(EXPECTED, value))
}

fn kubernetes_port(value: &DeValue<'_>) -> Result<String, Refusal> {
    const EXPECTED: &str = "the name of a port, as in \"http\", or its number, as in \"8080\"";
    let text = string(value, EXPECTED)?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = if is_number {
        text.parse::<u16>().is_ok_and(|port| port != 0)
    } else {
        is_kubernetes_name(text)
    };
    is_port
        .then(|| text.to_owned())
        .ok_or_else(|| Refusal::new(EXPECTED, value))
}

fn is_kubernetes_name(text: &str) -> bool {
    let is_of = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_of)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn api(value: &DeValue<'_>) -> Result<HttpUrl, Refusal> {
    const EXPECTED: &str = "a URL such as \"https://10.0.0.1:6443\"";
    let text = string(value, EXPECTED)?;
    let url = parse_url(text).filter(|url| !url.path.contains('?'));
    url.ok_or_else(|| Refusal::new(EXPECTED, value))
}

/// The path of a file.
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
