//! The servers of all upstreams.

use std::time::Instant;

use proxy_core::{ServerState, View};
use serde::Serialize;

use crate::moment::servers::{since, why};
use crate::sampling::origin::Origin;

/// All of them, or those of one upstream.
#[derive(Serialize)]
pub(crate) struct Servers<'v> {
    pub(crate) servers: Vec<Row<'v>>,
}

/// One server.
#[derive(Serialize)]
pub(crate) struct Row<'v> {
    upstream: &'v str,
    server: &'v str,
    /// As the label `state` of the metrics, or "removed".
    state: &'static str,
    /// Why, where it is not up; may be empty.
    why: String,
    /// Since when it is not up, as Unix time in seconds.
    since: Option<f64>,
    /// Without what its agent and its age make of it; none: it was removed.
    weight: Option<u16>,
    /// Whether somebody has set that, instead of what is configured.
    weight_by_hand: bool,
    weight_in_force: Option<f64>,
    backup: bool,
    max_connections: Option<u64>,
    connections: u64,
    checked: bool,
}

impl<'v> Servers<'v> {
    /// Those of an upstream, or all.
    pub(crate) fn of(view: &'v View, upstream: Option<&str>, origin: Origin) -> Self {
        let views = view.upstreams.iter();
        let views = views.filter(|view| upstream.is_none_or(|name| view.upstream.name == name));
        let rows = views.flat_map(|view| {
            let places = 0..view.servers.len();
            places.map(|place| row(view, place, origin))
        });
        Self {
            servers: rows.collect(),
        }
    }

    /// One of them.
    pub(crate) fn one(
        view: &'v View,
        upstream: &str,
        server: &str,
        origin: Origin,
    ) -> Option<Row<'v>> {
        let mut views = view.upstreams.iter();
        let view = views.find(|view| view.upstream.name == upstream)?;
        let place = view.servers.iter().position(|one| one.label == server)?;
        Some(row(view, place, origin))
    }
}

fn row(view: &proxy_core::UpstreamView, place: usize, origin: Origin) -> Row<'_> {
    let now: Instant = origin.instant;
    let server = &view.servers[place];
    let pool = view.pool.as_ref();
    let pool = pool.filter(|_| place < view.members().len());
    let member = pool.map(|pool| &pool.members()[place]);
    let state = pool.map(|pool| pool.state(place, now));
    Row {
        upstream: &server.upstream,
        server: &server.label,
        state: state.map_or("removed", ServerState::label),
        why: state.map_or_else(String::new, |state| why(server, state, now)),
        since: state.and_then(|state| since(server, state, origin)),
        weight: member.map(|member| member.weight),
        weight_by_hand: server.weight_by_hand().is_some(),
        weight_in_force: pool.map(|pool| pool.weight_in_force(place, now)),
        backup: member.is_some_and(|member| member.backup),
        max_connections: member.and_then(|member| member.max_connections),
        connections: server.connections(),
        checked: view.is_checked(),
    }
}
