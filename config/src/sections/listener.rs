//! `[listeners.NAME]`: where connections are accepted, and what each may cost.

use std::collections::HashSet;
use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use crate::addresses::claims::Claims;
use crate::raw::node::{Node, Place};
use crate::raw::section::Section;
use crate::sections::admission::{self, Admission};
use crate::sections::names::{Names, UpstreamIndex, upstream_index};
use crate::sections::proxy_protocol::{self, AcceptProxy, Expected};
use crate::sections::route::{self, NotTls, Route, Starttls};
use crate::sections::socket::{self, ListenerOptions};
use crate::sections::times::{self, Times};
use crate::values::address::{BindAddress, bind_addresses};

/// The most addresses of one listener, each port of a range counted.
pub const BINDS_MAX: usize = 1024;

/// A listener: its addresses, its upstream, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// NAME: unique among listeners, of 1 to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) of the
    /// characters `A-Z a-z 0-9 _ . -`; a label of metrics.
    pub name: String,
    /// `bind`: one string or an array of them. From 1 to [`BINDS_MAX`] addresses, none of which
    /// (but those of port 0) overlaps with another one, or with the admin server's.
    pub binds: Vec<BindAddress>,
    /// `upstream`: where the connections go that no route takes, see [`Config::upstream`](crate::Config::upstream). Absent:
    /// they are refused, and a route has an upstream.
    pub upstream: Option<UpstreamIndex>,
    /// `[[listeners.NAME.routes]]`: where others go; the first one that suits takes a connection. At most
    /// [`ROUTES_MAX`](crate::ROUTES_MAX).
    pub routes: Vec<Route>,
    /// `not_tls`: what happens to clients that speak no TLS where a route asks for what a ClientHello says.
    pub not_tls: NotTls,
    /// `starttls`: the protocol that is spoken before TLS; absent: TLS comes first.
    pub starttls: Option<Starttls>,
    /// `accept_proxy_protocol`: whether peers announce clients by the PROXY protocol; absent, which is `false` in the file,
    /// they don't.
    pub accept_proxy: Option<AcceptProxy>,
    /// `prologue_timeout`: how long what is heard of a client before it has a server may take, from the accept.
    pub prologue_timeout: Duration,
    /// `shares`: the weight of the listener's connections when a core hasn't time for all. Tokio only weighs how much a
    /// turn forwards.
    pub shares: NonZeroU16,
    /// `latency`: how soon a connection that is ready should run. Tokio only forwards less in a turn for it. Absent:
    /// throughput matters more.
    pub latency: Option<Duration>,
    /// `max_connections`: how many connections may be open at a time; more are rejected. Absent: no
    /// limit.
    pub max_connections: Option<NonZeroU64>,
    /// The keys that end connections by time.
    pub times: Times,
    /// `backlog`: how many connections the kernel keeps for each socket until they are accepted; of
    /// any more, it ignores the clients' attempts. The kernel lowers it to `net.core.somaxconn`.
    pub backlog: NonZeroU16,
    /// `splice`: whether a direction that proves bulk goes through a pipe, uncopied.
    pub splice: bool,
    /// Who gets in.
    pub admission: Admission,
    /// Options of its sockets, unix sockets aside.
    pub options: ListenerOptions,
}

impl Listener {
    /// Where its connections can go, each once: the default first.
    pub fn upstreams(&self) -> Vec<UpstreamIndex> {
        let routes = self.routes.iter().flat_map(|route| &route.upstreams);
        let mut all: Vec<UpstreamIndex> = Vec::new();
        let mut seen = HashSet::new();
        for index in self.upstream.iter().chain(routes.map(|(index, _)| index)) {
            if seen.insert(*index) {
                all.push(*index);
            }
        }
        all
    }

    /// Whether a ClientHello is heard: TLS begins later, or a route asks for a name or a protocol.
    pub fn hears_hello(&self) -> bool {
        let asks = |route: &Route| !route.sni.is_empty() || !route.alpn.is_empty();
        self.starttls.is_some() || self.routes.iter().any(asks)
    }
}

/// What is known of how a listener is written, besides what it says.
pub(crate) struct Written {
    /// Where its routes are.
    pub(crate) routes: Vec<Place>,
    /// Which of [`FOR_OTHERS`] are there.
    pub(crate) for_others: Vec<&'static str>,
}

/// Keys that have a default, and do nothing without others.
const FOR_OTHERS: [&str; 4] = [
    "prologue_timeout",
    "not_tls",
    "lifetime_jitter",
    "source_prefix",
];

/// Reads a listener; it is absent only if a problem was found.
pub(crate) fn read(
    name: &str,
    section: &mut Section<'_>,
    upstreams: &Names<'_>,
    claims: &mut Claims,
) -> Option<(Listener, Written)> {
    let mut for_others = FOR_OTHERS.to_vec();
    for_others.retain(|key| section.node(key).is_some());
    let options = socket::read_listener(section);
    let interface = options.socket.interface.as_deref();
    let nodes = section.elements("bind");
    let mut binds = Vec::new();
    for node in &nodes {
        read_bind(node, interface, claims, &mut binds);
    }
    let (routes, route_places): (Vec<_>, _) = route::read(section, upstreams).into_iter().unzip();
    let written = section.node("upstream");
    let is_written = written.is_some();
    let upstream = written.and_then(|node| node.read(|value| upstream_index(value, upstreams)));
    let leads_on = routes
        .iter()
        .any(|route: &Route| !route.upstreams.is_empty());
    if !is_written && !leads_on {
        section.miss("upstream");
    }
    if upstream.is_none() && (is_written || !leads_on) {
        upstreams.miss();
    }
    let not_tls = section.value("not_tls");
    let starttls = section.optional("starttls");
    let accept_proxy = proxy_protocol::read_accept(section);
    let is_optional = accept_proxy
        .as_ref()
        .is_some_and(|accept| accept.expected == Expected::Optional);
    if is_optional
        && matches!(starttls, Some(Starttls::Smtp | Starttls::Imap))
        && let Some(node) = section.node("starttls")
    {
        let path = node.path();
        node.report(format!(
            "`{path}` is for clients that wait for the proxy's word, and with accept_proxy_protocol = \"optional\" the proxy waits \
             for theirs; write accept_proxy_protocol = \"required\", or leave it out"
        ));
    }
    let written = Written {
        routes: route_places,
        for_others,
    };
    let prologue_timeout = section.value("prologue_timeout");
    let shares = section.value("shares");
    let latency = section.optional("latency");
    let max_connections = section.optional("max_connections");
    let times = times::read(section);
    let backlog = section.value("backlog");
    let splice = section.value("splice");
    let admission = admission::read(section);
    let listener = Listener {
        name: name.to_owned(),
        binds,
        upstream: match upstream {
            None if is_written || !leads_on => return None,
            upstream => upstream,
        },
        routes,
        not_tls,
        starttls,
        accept_proxy,
        prologue_timeout,
        shares,
        latency,
        max_connections,
        times,
        backlog,
        splice,
        admission,
        options,
    };
    Some((listener, written))
}

fn read_bind(
    node: &Node<'_>,
    interface: Option<&str>,
    claims: &mut Claims,
    binds: &mut Vec<BindAddress>,
) {
    let Some(addresses) = node.read(bind_addresses) else {
        return;
    };
    let path = node.path();
    for address in addresses {
        if binds.len() == BINDS_MAX {
            node.report(format!(
                "`{path}` is one address too many: a listener has at most {BINDS_MAX}, each port of a range counted"
            ));
            return;
        }
        match claims.claim(&address, interface, path) {
            Ok(()) => binds.push(address),
            Err(reason) => {
                node.report(format!("`{path}` is \"{address}\", which {reason}"));
                return;
            }
        }
    }
}
