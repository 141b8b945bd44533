//! `[upstreams.NAME]`: the servers that connections are spread over.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::num::NonZeroU16;
use std::time::Duration;

use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::problems::suggest::nearest;
use crate::raw::choice::choices;
use crate::raw::node::{Node, Place};
use crate::raw::read::string;
use crate::raw::section::Section;
use crate::sections::ejection::{self, Ejection};
use crate::sections::health::{self, Health};
use crate::sections::proxy_protocol::{self, SendProxy};
use crate::sections::socket::{self, UpstreamOptions};
use crate::values::address::{ServerAddress, server_address};

/// The most servers of one upstream; each is a value of a label of metrics.
pub const SERVERS_MAX: usize = 1024;

/// A group of servers that can stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// NAME: unique among upstreams, of 1 to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) of the
    /// characters `A-Z a-z 0-9 _ . -`; a label of metrics.
    pub name: String,
    /// `servers`: from 1 to [`SERVERS_MAX`] servers, no address twice, in the order of the file.
    pub servers: Vec<Server>,
    /// `balance`: how a connection's server is chosen.
    pub balance: Balance,
    /// `connect_timeout`: how long a server may take to accept a connection before the attempt has
    /// failed.
    pub connect_timeout: Duration,
    /// `send_proxy_protocol`: the headers that servers get; absent if they get none.
    pub send_proxy: Option<SendProxy>,
    /// Options of sockets to its servers, unix sockets aside.
    pub options: UpstreamOptions,
    /// `on_removed`: what happens to connections of a server that a reload removes.
    pub on_removed: OnRemoved,
    /// `[upstreams.NAME.health]`: health checks; absent if there are none.
    pub health: Option<Health>,
    /// `[upstreams.NAME.ejection]`: when servers are ejected; absent if nobody is.
    pub ejection: Option<Ejection>,
}

/// A server: a string, or a table `{ address = "…", weight = 2 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `address`: where to connect to.
    pub address: ServerAddress,
    /// `weight`: how many connections the server gets for each of one of weight 1.
    pub weight: NonZeroU16,
}

choices! {
    /// How a connection's server is chosen; displayed as it is written.
    pub enum Balance {
        /// Each in turn, by weight.
        RoundRobin = "round-robin",
        /// The one with the fewest open connections for its weight.
        LeastConnections = "least-connections",
    }
}

choices! {
    /// What happens to the connections of a server that is removed; displayed as it is written.
    pub enum OnRemoved {
        /// They go on.
        Keep = "keep",
        /// They are reset.
        Reset = "reset",
    }
}

/// Where a server is written.
pub(crate) struct Route {
    pub(crate) upstream: usize,
    pub(crate) address: ServerAddress,
    pub(crate) place: Place,
}

/// The place of an upstream in [`Config::upstreams`](crate::Config::upstreams), always valid there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamIndex(usize);

impl UpstreamIndex {
    /// The index as a number, for tables that are kept beside the upstreams.
    pub fn get(self) -> usize {
        self.0
    }
}

/// The names of the upstreams that are written, and which of them listeners use.
///
/// Listeners may name an upstream that has problems of its own, so this is what is written.
pub(crate) struct Names<'a> {
    written: Vec<&'a str>,
    used: RefCell<Vec<bool>>,
    missed: Cell<bool>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(written: Vec<&'a str>) -> Self {
        Self {
            used: RefCell::new(vec![false; written.len()]),
            written,
            missed: Cell::new(false),
        }
    }

    /// The upstream of this name, which is used from now on.
    pub(crate) fn find(&self, name: &str) -> Option<UpstreamIndex> {
        let index = self.written.iter().position(|written| *written == name)?;
        self.used.borrow_mut()[index] = true;
        Some(UpstreamIndex(index))
    }

    /// The name that was probably meant.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'a str> {
        nearest(name, self.written.iter().copied())
    }

    /// A listener doesn't say which upstream it uses: it may be any.
    pub(crate) fn miss(&self) {
        self.missed.set(true);
    }

    /// Whether no listener uses the upstream, as far as is known.
    pub(crate) fn is_unused(&self, index: usize) -> bool {
        !self.missed.get() && !self.used.borrow()[index]
    }
}

/// Reads the name of an upstream.
pub(crate) fn upstream_index(
    value: &DeValue<'_>,
    upstreams: &Names<'_>,
) -> Result<UpstreamIndex, Refusal> {
    const EXPECTED: &str = "the name of an upstream";
    let written = string(value, EXPECTED)?;
    upstreams.find(written).ok_or_else(|| {
        let advice = match upstreams.nearest(written) {
            Some(name) => format!("did you mean {name:?}?"),
            None => "add a table [upstreams.NAME] of that name".to_owned(),
        };
        Refusal::new(EXPECTED, value).advise(advice)
    })
}

/// Reads an upstream; where its servers are written is added to `routes`.
pub(crate) fn read(
    name: &str,
    section: &mut Section<'_>,
    index: usize,
    routes: &mut Vec<Route>,
) -> Upstream {
    Upstream {
        name: name.to_owned(),
        servers: read_servers(section, index, routes),
        balance: section.value("balance"),
        connect_timeout: section.value("connect_timeout"),
        send_proxy: proxy_protocol::read_send(section),
        options: socket::read_upstream(section),
        on_removed: section.value("on_removed"),
        health: health::read(section),
        ejection: ejection::read(section),
    }
}

fn read_servers(
    section: &mut Section<'_>,
    upstream: usize,
    routes: &mut Vec<Route>,
) -> Vec<Server> {
    let nodes = section.elements("servers");
    let mut seen = HashSet::with_capacity(nodes.len());
    let mut servers = Vec::with_capacity(nodes.len());
    for node in nodes {
        let place = node.place();
        if let Some(server) = read_server(node, &mut seen) {
            routes.push(Route {
                upstream,
                address: server.address.clone(),
                place,
            });
            servers.push(server);
        }
    }
    servers
}

/// Reads a server; it is absent only if a problem was found.
fn read_server(node: Node<'_>, seen: &mut HashSet<ServerAddress>) -> Option<Server> {
    match node.value {
        DeValue::Table(_) => node.section(|section| {
            let address = section.node("address");
            let weight = section.value("weight");
            Some(Server {
                address: read_address(&address?, seen)?,
                weight,
            })
        }),
        _ => Some(Server {
            address: read_address(&node, seen)?,
            weight: node.default("weight"),
        }),
    }
}

fn read_address(node: &Node<'_>, seen: &mut HashSet<ServerAddress>) -> Option<ServerAddress> {
    let address = node.read(server_address)?;
    if !seen.insert(address.plain()) {
        let path = node.path();
        node.report(format!(
            "`{path}` is \"{address}\", which is listed already; give it a weight instead"
        ));
        return None;
    }
    Some(address)
}
