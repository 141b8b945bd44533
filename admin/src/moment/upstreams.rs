//! The upstreams that are shown: all of them, each with the sums of all of its servers.

use proxy_core::{UpstreamView, View};

use super::round::tenths;
use crate::sampling::rates::{Rates, ServerTotals};
use proxy_state::Upstream;

/// All of them.
pub(super) fn of(view: &View, rates: &Rates) -> Vec<Upstream> {
    view.upstreams.iter().map(|view| one(view, rates)).collect()
}

fn one(view: &UpstreamView, rates: &Rates) -> Upstream {
    let rate = |read: fn(&ServerTotals) -> u64| {
        let of_server = |id| rates.per_second(|totals| totals.servers.get(&id).map(read));
        tenths(view.servers.iter().map(|server| of_server(server.id)).sum())
    };
    let members = view.members();
    Upstream {
        name: view.upstream.name.clone(),
        servers: members.len(),
        up: members.iter().filter(|server| server.is_up()).count(),
        removed: view.servers.len() - members.len(),
        connections: view.servers.iter().map(|server| server.connections()).sum(),
        connects: rate(|totals| totals.connects),
        failures: rate(|totals| totals.failures),
        bytes_in: rate(|totals| totals.bytes_in),
        bytes_out: rate(|totals| totals.bytes_out),
    }
}
