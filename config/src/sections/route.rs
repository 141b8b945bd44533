//! `[[listeners.NAME.routes]]`: where connections go by what is known of them.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::raw::choice::choices;
use crate::raw::node::{Node, Place};
use crate::raw::read::string;
use crate::raw::section::Section;
use crate::sections::names::{Names, UpstreamIndex, upstream_index};
use crate::values::network::network;
use crate::values::ports::ports;
use crate::values::server_name::server_name;

/// The most routes of one listener; each is a value of a label of metrics.
pub const ROUTES_MAX: usize = 10_000;
/// The most names of one route.
pub const ROUTE_NAMES_MAX: usize = 10_000;
/// The most values of each other list of a route.
pub const ROUTE_VALUES_MAX: usize = 256;
/// The most upstreams of one route.
pub const ROUTE_UPSTREAMS_MAX: usize = 64;
/// The highest weight of an upstream.
pub const ROUTE_WEIGHT_MAX: u32 = 1_000_000;
/// The longest name of a protocol, in bytes.
pub(crate) const PROTOCOL_BYTES_MAX: usize = 255;
/// The longest name of a route, in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 128;

/// A route: connections that have what it asks for, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `name`: a label of metrics; its place among the routes of the listener, from 1, unless it is written.
    pub name: String,
    /// `sni`: server names in lower case, of which the client asks for one: `a.example`, `*.example`, or `*`. Empty: whatever
    /// it asks for.
    pub sni: Vec<String>,
    /// `alpn`: protocols of which it offers one. Empty: whatever it offers.
    pub alpn: Vec<String>,
    /// `source`: networks of which the client is in one. Empty: wherever it is.
    pub source: Vec<IpNet>,
    /// `peer`: networks of which who has connected is in one, whoever it announces. Empty: wherever it is.
    pub peer: Vec<IpNet>,
    /// `port`: ports of the listener of which it has connected to one. Empty: to any.
    pub ports: Vec<RangeInclusive<u16>>,
    /// `upstream`, `upstreams` or `reject`: where they go, by weight. Empty: they are refused.
    pub upstreams: Vec<(UpstreamIndex, u32)>,
}

choices! {
    /// A protocol that begins in the clear; displayed as it is written.
    pub enum Starttls {
        /// PostgreSQL's SSLRequest.
        Postgres = "postgres",
        /// SMTP's STARTTLS.
        Smtp = "smtp",
        /// IMAP's STARTTLS.
        Imap = "imap",
    }
}

choices! {
    /// What happens to clients that speak no TLS where a name is asked for; displayed as it is written.
    pub enum NotTls {
        /// They have no name and offer no protocol.
        Accept = "accept",
        /// They are refused.
        Refuse = "refuse",
    }
}

/// Reads the routes of a listener, each with its place.
pub(crate) fn read(section: &mut Section<'_>, upstreams: &Names<'_>) -> Vec<(Route, Place)> {
    let nodes = section.elements("routes");
    let read = |(place, node): (usize, Node<'_>)| {
        let path = node.path().to_owned();
        let at = node.place();
        let context = node.context;
        let route = node
            .section(|section| read_one(section, place, upstreams))
            .or_else(|| {
                context.findings.add(
                    at.at,
                    Some(path.clone()),
                    format!(
                        "`{path}` must say where connections go, once: upstream = \"NAME\", upstreams = {{ NAME = 90, \
                         OTHER = 10 }}, or reject = true"
                    ),
                );
                None
            });
        Some((route?, at))
    };
    nodes.into_iter().enumerate().filter_map(read).collect()
}

/// None if it doesn't say where connections go, or says it twice.
fn read_one(section: &mut Section<'_>, place: usize, upstreams: &Names<'_>) -> Option<Route> {
    let name = section.node("name").and_then(|node| node.read(label));
    let sni = values(section, "sni", server_name);
    let alpn = values(section, "alpn", protocol);
    let source = values(section, "source", network);
    let peer = values(section, "peer", network);
    let ports = values(section, "port", ports);
    let one = section.node("upstream");
    let several = section.named("upstreams");
    let rejects: bool = section.value("reject");
    let ways = usize::from(one.is_some()) + usize::from(!several.is_empty()) + usize::from(rejects);
    let index = |value: &DeValue<'_>| upstream_index(value, upstreams);
    let mut parts = Vec::new();
    parts.extend(one.and_then(|node| node.read(index)).map(|one| (one, 1)));
    for (name, node) in several {
        match upstreams.find(name) {
            Some(upstream) => {
                parts.extend(node.read(weight).map(|weight| (upstream, weight)));
            }
            None => {
                let advice = match upstreams.nearest(name) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "add a table [upstreams.NAME] of that name".to_owned(),
                };
                let path = node.path();
                node.report(format!("`{path}` is of no upstream; {advice}"));
            }
        }
    }
    if !parts.is_empty() && parts.iter().all(|(_, weight)| *weight == 0) {
        return None;
    }
    (ways == 1).then(|| Route {
        name: name.unwrap_or_else(|| (place + 1).to_string()),
        sni,
        alpn,
        source,
        peer,
        ports,
        upstreams: parts,
    })
}

fn values<T>(
    section: &mut Section<'_>,
    name: &'static str,
    read: impl Fn(&DeValue<'_>) -> Result<T, Refusal>,
) -> Vec<T> {
    let nodes = section.elements(name);
    nodes.iter().filter_map(|node| node.read(&read)).collect()
}

fn label(value: &DeValue<'_>) -> Result<String, Refusal> {
    const EXPECTED: &str = "a name of 1 to 128 printable characters";
    let written = string(value, EXPECTED)?;
    let is_printable = written.chars().all(|character| !character.is_control());
    if written.is_empty() || written.len() > LABEL_BYTES_MAX || !is_printable {
        return Err(Refusal::new(EXPECTED, value));
    }
    Ok(written.to_owned())
}

fn protocol(value: &DeValue<'_>) -> Result<String, Refusal> {
    const EXPECTED: &str = "the name of a protocol such as \"h2\", of 1 to 255 bytes";
    let written = string(value, EXPECTED)?;
    if written.is_empty() || written.len() > PROTOCOL_BYTES_MAX {
        return Err(Refusal::new(EXPECTED, value));
    }
    Ok(written.to_owned())
}

fn weight(value: &DeValue<'_>) -> Result<u32, Refusal> {
    let number = value
        .as_integer()
        .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
    number
        .filter(|weight| *weight <= ROUTE_WEIGHT_MAX)
        .ok_or_else(|| Refusal::new(format!("an integer from 0 to {ROUTE_WEIGHT_MAX}"), value))
}
