//! `[listeners.NAME]`: where connections are accepted, and what each may cost.

use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use toml::de::DeValue;

use crate::address::{BindAddress, bind_address};
use crate::claims::Claims;
use crate::duration::{DURATION_MAX, duration};
use crate::node::Node;
use crate::refusal::Refusal;
use crate::section::Section;
use crate::upstream::{Names, UpstreamIndex};
use crate::value::{INTEGER_MAX, boolean, integer, string};

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
    /// `shares`: the weight of the listener's connections when a core hasn't time for all, from 1
    /// to 1000. Tokio only weighs how much a turn forwards. Default 1000.
    pub shares: NonZeroU16,
    /// `latency`: how soon a connection that is ready should run, from 10 µs to 100 ms. Tokio
    /// only forwards less in a turn for it. Absent: throughput matters more.
    pub latency: Option<Duration>,
    /// `max_connections`: how many connections may be open at a time; more are rejected. Absent: no
    /// limit.
    pub max_connections: Option<NonZeroU64>,
    /// `idle_timeout`: how long a connection may be silent before it is closed, from 1 ms to
    /// [`DURATION_MAX`]. Default `"1h"`; absent here, and `"off"` in the file, is for ever.
    pub idle_timeout: Option<Duration>,
    /// `backlog`: how many connections the kernel keeps for each socket until they are accepted; of
    /// any more, it ignores the clients' attempts. The kernel lowers it to `net.core.somaxconn`.
    /// Default 4096.
    pub backlog: NonZeroU16,
    /// `splice`: whether a direction that proves bulk goes through a pipe, uncopied. Default true.
    pub splice: bool,
}

pub(crate) const ADVICE: &str =
    "add a table [listeners.NAME] with bind = \"127.0.0.1:7000\" and upstream = \"NAME\"";
const BIND_ADVICE: &str = "write where to listen, as in bind = \"127.0.0.1:7000\"";
const UPSTREAM_ADVICE: &str =
    "write where connections go, as in upstream = \"NAME\" for [upstreams.NAME]";

const SHARES_MAX: u64 = 1000;
const SHARES_DEFAULT: NonZeroU16 = NonZeroU16::new(1000).unwrap();
const LATENCY_MIN: Duration = Duration::from_micros(10);
const LATENCY_MAX: Duration = Duration::from_millis(100);
const IDLE_TIMEOUT_MIN: Duration = Duration::from_millis(1);
const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60 * 60);
const BACKLOG_MAX: u64 = u16::MAX as u64;
const BACKLOG_DEFAULT: NonZeroU16 = NonZeroU16::new(4096).unwrap();

/// Reads a listener; it is absent only if a problem was found.
pub(crate) fn read(
    name: &str,
    section: &mut Section<'_>,
    upstreams: &Names<'_>,
    claims: &mut Claims,
) -> Option<Listener> {
    let binds = read_binds(section, claims);
    let upstream = section
        .required_node("upstream", UPSTREAM_ADVICE)
        .and_then(|node| node.read(|value| upstream_index(value, upstreams)));
    if upstream.is_none() {
        upstreams.miss();
    }
    let shares = section.or("shares", SHARES_DEFAULT, |value| {
        integer(value, 1..=SHARES_MAX)
    });
    let latency = section.optional("latency", |value| {
        duration(value, LATENCY_MIN..=LATENCY_MAX)
    });
    let max_connections =
        section.optional("max_connections", |value| integer(value, 1..=INTEGER_MAX));
    let idle_timeout = section.or("idle_timeout", Some(IDLE_TIMEOUT_DEFAULT), idle_timeout);
    let backlog = section.or("backlog", BACKLOG_DEFAULT, |value| {
        integer(value, 1..=BACKLOG_MAX)
    });
    let splice = section.or("splice", true, boolean);
    Some(Listener {
        name: name.to_owned(),
        binds,
        upstream: upstream?,
        shares,
        latency,
        max_connections,
        idle_timeout,
        backlog,
        splice,
    })
}

fn read_binds(section: &mut Section<'_>, claims: &mut Claims) -> Vec<BindAddress> {
    let Some(node) = section.required_node("bind", BIND_ADVICE) else {
        return Vec::new();
    };
    let nodes = match node.value {
        DeValue::Array(_) => node.elements(BINDS_MAX, BIND_ADVICE),
        _ => vec![node],
    };
    nodes
        .iter()
        .filter_map(|node| read_bind(node, claims))
        .collect()
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

fn idle_timeout(value: &DeValue<'_>) -> Result<Option<Duration>, Refusal> {
    if value.as_str() == Some("off") {
        return Ok(None);
    }
    let timeout = duration(value, IDLE_TIMEOUT_MIN..=DURATION_MAX);
    timeout
        .map(Some)
        .map_err(|refusal| refusal.or_else(" or \"off\""))
}
