//! `[upstreams.NAME.agent]`: asking an agent beside each server.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::raw::section::Section;
use crate::values::address::ServerAddress;
use crate::values::expected;

/// How the agents of an upstream's servers are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `port`: where they listen.
    pub port: NonZeroU16,
    /// `interval`: how often each is asked.
    pub interval: Duration,
    /// `timeout`: how long one may take.
    pub timeout: Duration,
    /// `send`: what it is told first; may be empty.
    pub send: Vec<u8>,
}

/// Reads the section of an upstream with servers at these addresses, if it is written.
pub(crate) fn read<'s>(
    upstream: &mut Section<'_>,
    mut addresses: impl Iterator<Item = &'s ServerAddress>,
) -> Option<Agent> {
    if let Some(node) = upstream.node("agent")
        && let Some(address) = addresses.find(|address| !address.has_port())
    {
        let path = node.path().to_owned();
        node.report(format!(
            "`{path}` asks at a port of each server, and \"{address}\" has no ports; move it to an upstream of its own"
        ));
    }
    upstream.optional_section("agent", read_section).flatten()
}

/// Nothing where there is no port; a problem was found then.
fn read_section(section: &mut Section<'_>) -> Option<Agent> {
    let port = section.optional("port");
    let (interval, timeout) = (section.value("interval"), section.value("timeout"));
    let send = section
        .node("send")
        .and_then(|node| node.read(expected::text));
    Some(Agent {
        port: port?,
        interval,
        timeout,
        send: send.unwrap_or_default(),
    })
}
