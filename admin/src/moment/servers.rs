//! The servers that are shown.

use std::cmp::Reverse;
use std::time::Instant;

use proxy_core::{EjectionCause, Hold, Id, Manner, ServerState, View};

use super::round::{micros, tenths};
use super::shares::Shares;
use crate::findings::{fault, unix_seconds};
use crate::sampling::origin::Origin;
use crate::sampling::rates::{Rates, ServerTotals};
use proxy_state::{Closing, SERVERS_SHOWN_MAX, Server};

/// The servers that are shown, and how many are not.
pub(super) fn of(view: &View, rates: &Rates, origin: Origin, now: Instant) -> (Vec<Server>, usize) {
    let servers = view
        .upstreams
        .iter()
        .enumerate()
        .flat_map(|(upstream, view)| {
            let members = view.members().len();
            let servers = view.servers.iter().enumerate();
            servers.map(move |(index, server)| {
                let place = Place { upstream, index };
                (place, index < members, server)
            })
        });
    let rate = |id: Id, read: fn(&ServerTotals) -> u64| {
        tenths(rates.per_second(|totals| totals.servers.get(&id).map(read)))
    };
    let mut places: Vec<_> = servers
        .enumerate()
        .map(|(place, (of, is_member, server))| {
            let fails = rate(server.id, |totals| totals.failures) > 0.0;
            // What is to be seen first is the least; what was found first of it stays first.
            let urgency = match (is_member, server.is_up(), fails) {
                (true, false, _) => 0,
                (true, true, true) => 1,
                (true, true, false) => 2,
                (false, ..) => 3,
            };
            (urgency, place, of, server)
        })
        .collect();
    let left_out = places.len().saturating_sub(SERVERS_SHOWN_MAX);
    if left_out > 0 {
        places.sort_by_cached_key(|&(urgency, place, _, server)| {
            (urgency, Reverse(server.connections()), place)
        });
        places.truncate(SERVERS_SHOWN_MAX);
    }
    places.sort_by_key(|&(urgency, place, ..)| (urgency, place));
    let shares: Vec<_> = view
        .upstreams
        .iter()
        .map(|view| Shares::of(view, now))
        .collect();
    let shown = places.into_iter().map(|(_, _, of, server)| {
        let rate = |read: fn(&ServerTotals) -> u64| rate(server.id, read);
        let shares = &shares[of.upstream];
        let view = &view.upstreams[of.upstream];
        let members = view.members().len();
        let pool = view.pool.as_ref().filter(|_| of.index < members);
        let state = pool.map(|pool| pool.state(of.index, now));
        let queued = pool.filter(|pool| pool.settings().queue.is_some());
        Server {
            state: state.map_or("removed", ServerState::label).to_owned(),
            why: state.map_or_else(String::new, |state| why(server, state, now)),
            since: since(server, state, origin),
            weight: shares.weight(of.index),
            configured_weight: shares.configured(of.index),
            wanted: shares.wanted(of.index),
            had: shares.had(of.index),
            queue: queued.map(|pool| pool.upstream().slot_queue()),
            queue_seconds: queued
                .and_then(|pool| pool.upstream().slot_queue_since())
                .map(|since| tenths(now.saturating_duration_since(since).as_secs_f64())),
            check_seconds: (view.is_checked())
                .then(|| server.checks.took().map(micros))
                .flatten(),
            closing: closing(server, origin),
            ejections: EjectionCause::ALL
                .into_iter()
                .map(|cause| server.ejections(cause))
                .sum(),
            upstream: server.upstream.clone(),
            server: server.label.clone(),
            up: server.is_up(),
            checked: view.is_checked(),
            connections: server.connections(),
            max_connections: pool.and_then(|pool| pool.members()[of.index].most_connections()),
            connects: rate(|totals| totals.connects),
            failures: rate(|totals| totals.failures),
            bytes_in: rate(|totals| totals.bytes_in),
            bytes_out: rate(|totals| totals.bytes_out),
        }
    });
    (shown.collect(), left_out)
}

/// Where a server stands.
#[derive(Clone, Copy)]
struct Place {
    upstream: usize,
    index: usize,
}

/// Why it is in a state.
pub(crate) fn why(server: &proxy_core::Server, state: ServerState, now: Instant) -> String {
    if let Some(hold) = agent_s(state)
        && server.holds().has(hold)
    {
        return fault::by_agent(server);
    }
    match state {
        ServerState::Maintenance | ServerState::Draining => "set by hand".to_owned(),
        ServerState::Down | ServerState::Failing => {
            let fault = server.outage.fault();
            fault.map_or_else(String::new, |fault| fault::words(server, fault))
        }
        ServerState::Ejected => server
            .ejection()
            .map_or_else(String::new, |(cause, until)| {
                let cause = match cause {
                    EjectionCause::ConnectFailures => "connects failed in a row",
                    EjectionCause::EarlyEnds => "it ended connections as soon as they had begun",
                    EjectionCause::SlowConnects => "connects take much longer than to the others",
                };
                let left = until.saturating_duration_since(now).as_secs();
                format!("{cause}; {left} s left")
            }),
        _ => String::new(),
    }
}

/// What an agent may say that leads to a state.
fn agent_s(state: ServerState) -> Option<Hold> {
    match state {
        ServerState::Maintenance => Some(Hold::AgentMaintenance),
        ServerState::Draining => Some(Hold::AgentDraining),
        ServerState::Down => Some(Hold::AgentDown),
        _ => None,
    }
}

/// How those of its connections end that may not stay, where there are any.
fn closing(server: &proxy_core::Server, origin: Origin) -> Option<Closing> {
    let cells = [
        ("on_removed", &server.on_removed),
        ("on_down", &server.on_down),
    ];
    let mut set = cells
        .into_iter()
        .filter_map(|(fate, cell)| Some((fate, cell.get()?)));
    let (fate, closing) = set.next().filter(|_| server.connections() > 0)?;
    let how = match closing.manner {
        Manner::Reset => "reset",
        Manner::Close => "close",
    };
    Some(Closing {
        fate: fate.to_owned(),
        how: how.to_owned(),
        until: unix_seconds(origin.utc_of(closing.ends_at())),
    })
}

/// Since when it is in a state, or removed; none where nobody knows, as of one that is full.
pub(crate) fn since(
    server: &proxy_core::Server,
    state: Option<ServerState>,
    origin: Origin,
) -> Option<f64> {
    let since = match state {
        None => server.removed_since(),
        Some(ServerState::Up) => server.clear_since(),
        Some(state) => held_since(server, state),
    };
    Some(unix_seconds(origin.utc_of(since?)))
}

fn held_since(server: &proxy_core::Server, state: ServerState) -> Option<Instant> {
    let hold = match state {
        ServerState::Maintenance => Some(Hold::Maintenance),
        ServerState::Draining => Some(Hold::Draining),
        ServerState::Down | ServerState::Failing => Some(Hold::Down),
        ServerState::Ejected => Some(Hold::Ejected),
        ServerState::Full | ServerState::Up => None,
    };
    let holds = hold.into_iter().chain(agent_s(state));
    holds.filter_map(|hold| server.since(hold)).min()
}
