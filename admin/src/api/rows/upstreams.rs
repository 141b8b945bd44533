//! The upstreams.

use proxy_core::{UpstreamView, View};
use serde::Serialize;

/// All of them.
#[derive(Serialize)]
pub(crate) struct Upstreams<'v> {
    upstreams: Vec<Row<'v>>,
}

#[derive(Serialize)]
struct Row<'v> {
    upstream: &'v str,
    /// Whether the configuration has it, or had it a while ago.
    configured: bool,
    checked: bool,
    servers: usize,
    servers_up: usize,
    connections: u64,
    max_connections: Option<u64>,
    /// Clients that wait for a place at a server.
    waiting: u64,
    fallback: Option<&'v str>,
}

impl<'v> Upstreams<'v> {
    pub(crate) fn of(view: &'v View) -> Self {
        Self {
            upstreams: view.upstreams.iter().map(row).collect(),
        }
    }
}

fn row(view: &UpstreamView) -> Row<'_> {
    let members = view.members();
    let pool = view.pool.as_ref();
    let fallback = pool.and_then(|pool| pool.fallback());
    Row {
        upstream: &view.upstream.name,
        configured: pool.is_some(),
        checked: view.is_checked(),
        servers: members.len(),
        servers_up: members.iter().filter(|server| server.is_up()).count(),
        connections: view.servers.iter().map(|server| server.connections()).sum(),
        max_connections: pool.and_then(|pool| pool.settings().max_connections),
        waiting: view.upstream.slot_queue(),
        fallback: fallback.map(|pool| &pool.upstream().name[..]),
    }
}
