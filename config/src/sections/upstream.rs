//! `[upstreams.NAME]`: the servers that connections are spread over.

use std::collections::HashSet;
use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use toml::de::DeValue;

use crate::raw::choice::choices;
use crate::raw::node::{Node, Place};
use crate::raw::section::Section;
use crate::sections::agent::{self, Agent};
use crate::sections::balance::{self, Balancing, Fallback};
use crate::sections::discovery::{self, Discovery};
use crate::sections::ejection::{self, Ejection};
use crate::sections::health::{self, Health};
use crate::sections::names::Names;
use crate::sections::proxy_protocol::{self, SendProxy};
use crate::sections::socket::{self, UpstreamOptions};
use crate::values::address::{ServerAddress, server_address};
use crate::values::percent::Percent;

/// The most servers of one upstream; each is a value of a label of metrics.
pub const SERVERS_MAX: usize = 1024;

/// A group of servers that can stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// NAME: unique among upstreams, of 1 to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) of the
    /// characters `A-Z a-z 0-9 _ . -`; a label of metrics.
    pub name: String,
    /// `servers`: up to [`SERVERS_MAX`] servers, no address twice, in the order of the file. At least one, unless others are
    /// discovered.
    pub servers: Vec<Server>,
    /// Which server a connection gets.
    pub balancing: Balancing,
    /// `connect_timeout`: how long a server may take to accept a connection before the attempt has
    /// failed.
    pub connect_timeout: Duration,
    /// `starttls_timeout`: how long it may take from there to greet and to take TLS, where a listener speaks a protocol before TLS.
    pub starttls_timeout: Duration,
    /// `retry_budget`: how many connects there may be beyond the first one of each connection; absent: as many as there are
    /// addresses.
    pub retry_budget: Option<Percent>,
    /// `send_proxy_protocol`: the headers that servers get; absent if they get none.
    pub send_proxy: Option<SendProxy>,
    /// Options of sockets to its servers, unix sockets aside.
    pub options: UpstreamOptions,
    /// `on_removed`: what happens to connections of a server that a reload removes.
    pub on_removed: ConnectionFate,
    /// `on_down`: what happens to connections of a server whose checks say that it is down.
    pub on_down: ConnectionFate,
    /// `close_over`: over which time both are spread; absent: they end at once.
    pub close_over: Option<Duration>,
    /// `[upstreams.NAME.discovery]`: who says which servers there are besides; absent if nobody does.
    pub discovery: Option<Discovery>,
    /// `[upstreams.NAME.health]`: health checks; absent if there are none.
    pub health: Option<Health>,
    /// `[upstreams.NAME.agent]`: agents beside the servers; absent if there are none.
    pub agent: Option<Agent>,
    /// `[upstreams.NAME.ejection]`: when servers are ejected; absent if nobody is.
    pub ejection: Option<Ejection>,
}

/// A server: a string, or a table `{ address = "…", weight = 2 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `address`: where to connect to.
    pub address: ServerAddress,
    /// `weight`: how many connections the server gets for each of one of weight 1; 0: no new ones.
    pub weight: u16,
    /// `backup`: it gets connections only while no other server can have them.
    pub backup: bool,
    /// `max_connections`: how many it has at a time. Absent: no limit.
    pub max_connections: Option<NonZeroU64>,
    /// `check_port`: the port of its health checks, if it is another one than that of its connections.
    pub check_port: Option<NonZeroU16>,
}

choices! {
    /// What happens to the connections of a server that is down or removed; displayed as it is written.
    pub enum ConnectionFate {
        /// They go on.
        Keep = "keep",
        /// They are reset.
        Reset = "reset",
        /// Both sides are closed in an orderly manner, as soon as they are quiet.
        Close = "close",
    }
}

/// Where a server is written.
pub(crate) struct Route {
    pub(crate) upstream: usize,
    pub(crate) address: ServerAddress,
    pub(crate) place: Place,
}

/// Reads an upstream; where its servers are written is added to `routes`.
pub(crate) fn read(
    name: &str,
    section: &mut Section<'_>,
    index: usize,
    names: &Names<'_>,
    routes: &mut Vec<Route>,
    fallbacks: &mut Vec<Fallback>,
) -> Upstream {
    let health = health::read(section);
    let checks_know_roles = health
        .as_ref()
        .is_some_and(|health| health.check.knows_role());
    let servers = read_servers(section, index, routes);
    Upstream {
        name: name.to_owned(),
        agent: agent::read(section, servers.iter().map(|server| &server.address)),
        servers,
        balancing: balance::read(section, index, names, fallbacks, checks_know_roles),
        discovery: discovery::read(section),
        connect_timeout: section.value("connect_timeout"),
        starttls_timeout: section.value("starttls_timeout"),
        retry_budget: section.optional("retry_budget"),
        send_proxy: proxy_protocol::read_send(section),
        options: socket::read_upstream(section),
        on_removed: section.value("on_removed"),
        on_down: section.value("on_down"),
        close_over: section.value("close_over"),
        health,
        ejection: ejection::read(section),
    }
}

fn read_servers(
    section: &mut Section<'_>,
    upstream: usize,
    routes: &mut Vec<Route>,
) -> Vec<Server> {
    if section.node("servers").is_none() && section.node("discovery").is_none() {
        section.miss("servers");
    }
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
            let backup = section.value("backup");
            let max_connections = section.optional("max_connections");
            let check_port = section.node("check_port");
            let server = Server {
                address: read_address(&address?, seen)?,
                weight,
                backup,
                max_connections,
                check_port: section.optional("check_port"),
            };
            if let Some(node) = check_port.filter(|_| !server.address.has_port()) {
                let (path, address) = (node.path(), &server.address);
                node.report(format!("`{path}` is of \"{address}\", which has no ports"));
            }
            Some(server)
        }),
        _ => Some(Server {
            address: read_address(&node, seen)?,
            weight: node.default("weight"),
            backup: node.default("backup"),
            max_connections: None,
            check_port: None,
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
