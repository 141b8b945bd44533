//! The servers of all upstreams.

use std::time::Instant;

use proxy_core::{Member, ServerState, View};
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
    /// Since when it is in that state, as Unix time in seconds; none: nobody knows, as of one that is full.
    since: Option<f64>,
    /// Without what its agent and its age make of it; none: it was removed.
    weight: Option<u16>,
    /// Whether somebody has set that, instead of what is configured.
    weight_by_hand: bool,
    weight_in_force: Option<f64>,
    backup: bool,
    /// As it is configured.
    max_connections: Option<u64>,
    /// What is in force: its agent may say otherwise. None: as many as come.
    max_connections_in_force: Option<u64>,
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
        since: since(server, state, origin),
        weight: member.map(|member| member.weight),
        weight_by_hand: server.weight_by_hand().is_some(),
        weight_in_force: pool.map(|pool| pool.weight_in_force(place, now)),
        backup: member.is_some_and(|member| member.backup),
        max_connections: member.and_then(|member| member.max_connections),
        max_connections_in_force: member.and_then(Member::most_connections),
        connections: server.connections(),
        checked: view.is_checked(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proxy_core::{AgentReport, Hold};

    use super::*;
    use crate::fixture;

    #[test]
    fn a_server_has_since_when_it_is_in_its_state_and_the_limit_of_its_agent() {
        let observed = fixture::proxy();
        let server = fixture::server(&observed, 1);
        let origin = Origin::now();
        let row = || {
            let view = observed.view();
            let row = Servers::one(&view, &server.upstream, &server.label, origin);
            let row = row.expect("it is there");
            let limits = (row.max_connections, row.max_connections_in_force);
            (row.state, row.since, limits)
        };
        let at = |moment| Some(crate::findings::unix_seconds(origin.utc_of(moment)));
        assert_eq!(row(), ("up", None, (None, None)), "nobody has noted it");
        let came = origin.instant;
        let (down, up) = (
            came + Duration::from_secs(10),
            came + Duration::from_secs(20),
        );
        server.set_hold(Hold::AgentDown, true, down);
        assert_eq!(row(), ("down", at(down), (None, None)));
        server.set_hold(Hold::AgentDown, false, up);
        let said = AgentReport {
            max_connections: Some(7),
            ..AgentReport::default()
        };
        server.on_agent(&said, up);
        assert_eq!(row(), ("up", at(up), (None, Some(7))));
    }
}
