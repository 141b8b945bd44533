//! `[listeners.NAME]`: where connections are accepted, and what each may cost.

use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use toml::de::DeValue;

use crate::addresses::claims::Claims;
use crate::problems::refusal::Refusal;
use crate::raw::node::Node;
use crate::raw::read::string;
use crate::raw::section::Section;
use crate::sections::admission::{self, Admission};
use crate::sections::proxy_protocol::{self, AcceptProxy};
use crate::sections::times::{self, Times};
use crate::sections::upstream::{Names, UpstreamIndex};
use crate::values::address::{BindAddress, bind_address};

/// The most addresses of one listener.
pub const BINDS_MAX: usize = 64;

/// A listener: its addresses, its upstream, and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// NAME: unique among listeners, of 1 to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) of the
    /// characters `A-Z a-z 0-9 _ . -`; a label of metrics.
    pub name: String,
    /// `bind`: one string or an array of them. From 1 to [`BINDS_MAX`] addresses, none of which
    /// (but those of port 0) overlaps with another one, or with the admin server's.
    pub binds: Vec<BindAddress>,
    /// `upstream`: where the connections go, see [`Config::upstream`](crate::Config::upstream).
    pub upstream: UpstreamIndex,
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
}

/// Reads a listener; it is absent only if a problem was found.
pub(crate) fn read(
    name: &str,
    section: &mut Section<'_>,
    upstreams: &Names<'_>,
    claims: &mut Claims,
) -> Option<Listener> {
    let binds = section.elements("bind");
    let binds = binds.iter().filter_map(|node| read_bind(node, claims));
    let binds = binds.collect();
    let upstream = section
        .node("upstream")
        .and_then(|node| node.read(|value| upstream_index(value, upstreams)));
    if upstream.is_none() {
        upstreams.miss();
    }
    let accept_proxy = proxy_protocol::read_accept(section);
    let prologue_timeout = section.value("prologue_timeout");
    let shares = section.value("shares");
    let latency = section.optional("latency");
    let max_connections = section.optional("max_connections");
    let times = times::read(section);
    let backlog = section.value("backlog");
    let splice = section.value("splice");
    let admission = admission::read(section);
    Some(Listener {
        name: name.to_owned(),
        binds,
        upstream: upstream?,
        accept_proxy,
        prologue_timeout,
        shares,
        latency,
        max_connections,
        times,
        backlog,
        splice,
        admission,
    })
}

fn read_bind(node: &Node<'_>, claims: &mut Claims) -> Option<BindAddress> {
    let address = node.read(bind_address)?;
    let path = node.path();
    if let Err(reason) = claims.claim(&address, path) {
        node.report(format!("`{path}` is \"{address}\", which {reason}"));
        return None;
    }
    Some(address)
}

fn upstream_index(value: &DeValue<'_>, upstreams: &Names<'_>) -> Result<UpstreamIndex, Refusal> {
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
