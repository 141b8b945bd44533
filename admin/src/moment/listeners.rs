//! The listeners that are shown.

use proxy_core::{ListenerState, ListenerView, View};

use super::round::tenths;
use crate::observed::Observed;
use crate::sampling::rates::{ListenerTotals, Rates, rejected};
use proxy_state::Listener;

/// All of them.
pub(super) fn of(observed: &Observed, view: &View, rates: &Rates) -> Vec<Listener> {
    let shown = |ListenerView { listener, settings }: &ListenerView| {
        let rate = |read: fn(&ListenerTotals) -> u64| {
            tenths(rates.per_second(|totals| totals.listeners.get(&listener.id).map(read)))
        };
        let upstream = settings
            .as_ref()
            .map(|all| all.pool.upstream().name.clone());
        Listener {
            name: listener.name.clone(),
            upstream: upstream.unwrap_or_default(),
            connections: listener.connections(),
            accepts: rate(|totals| totals.accepts),
            bytes_in: rate(|totals| totals.bytes_in),
            bytes_out: rate(|totals| totals.bytes_out),
            rejects: rate(|totals| totals.rejects),
            rejected: listener.cells.sum(rejected),
            state: match listener.state() {
                ListenerState::Open => String::new(),
                state => state.label().to_owned(),
            },
            waiting: observed.surroundings.waiting(&listener.name),
            max_connections: settings.as_ref().and_then(|all| all.max_connections),
            accepted: listener.cells.sum(|cells| cells.accepted.get()),
        }
    };
    view.listeners.iter().map(shown).collect()
}
