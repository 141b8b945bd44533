//! What the counters gained in the last second.

use std::collections::HashMap;
use std::time::Duration;

use proxy_core::metrics::{Counter, ListenerCells, PrologueResult, Rejection, ServerCells};
use proxy_core::{Id, Listener, ListenerView, View};

use super::{sums, threads};
use crate::observed::Observed;
use crate::observed::running::Running;

/// The counters that the live page shows as rates, at one moment. They only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    /// When, since any fixed moment.
    pub(crate) at: Duration,
    pub(crate) cores: Vec<CoreTotals>,
    pub(crate) listeners: HashMap<Id, ListenerTotals>,
    pub(crate) servers: HashMap<Id, ServerTotals>,
    /// Connections that took a route.
    pub(crate) routes: HashMap<Id, u64>,
    /// By listener: connections that no route took, and that were refused.
    pub(crate) unrouted: HashMap<Id, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CoreTotals {
    pub(crate) accepts: u64,
    pub(crate) bytes: u64,
    pub(crate) waits: Duration,
    pub(crate) migrations: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ListenerTotals {
    pub(crate) accepts: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) rejects: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ServerTotals {
    pub(crate) connects: u64,
    pub(crate) failures: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// Clients that a worker has turned away.
pub(crate) fn rejected(cells: &ListenerCells) -> u64 {
    let refusals = PrologueResult::ALL.into_iter();
    let refusals = refusals.filter(|result| result.is_refusal());
    let refused = refusals.map(|result| cells.prologue[result as usize].get());
    let rejected = cells.rejected.iter().map(Counter::get);
    rejected.chain(refused).sum()
}

impl Totals {
    /// The counters now.
    pub(crate) fn read(observed: &Observed, at: Duration) -> Self {
        let view = observed.view();
        let running = observed.running();
        let cores =
            (0..running.threads.len()).map(|worker| core(observed, &running, &view, worker));
        let listeners = view.listeners.iter().map(|ListenerView { listener, .. }| {
            let sum = |read: fn(&ListenerCells) -> u64| listener.cells.sum(read);
            let totals = ListenerTotals {
                accepts: sum(|cells| cells.accepted.get()),
                bytes_in: sum(|cells| cells.bytes_in.get()),
                bytes_out: sum(|cells| cells.bytes_out.get()),
                rejects: sum(rejected),
            };
            (listener.id, totals)
        });
        let servers = view.upstreams.iter().flat_map(|view| &view.servers);
        let servers = servers.map(|server| {
            let sum = |read: fn(&ServerCells) -> u64| server.cells.sum(read);
            let totals = ServerTotals {
                connects: sum(|cells| cells.opened.get()),
                failures: sum(|cells| cells.failures.iter().map(Counter::get).sum()),
                bytes_in: sum(|cells| cells.bytes_in.get()),
                bytes_out: sum(|cells| cells.bytes_out.get()),
            };
            (server.id, totals)
        });
        let routed = || {
            let configured = view.listeners.iter();
            configured
                .filter_map(|view| Some((&view.listener, view.settings.as_ref()?.routes.as_ref()?)))
        };
        let routes = routed().flat_map(|(_, routes)| routes.routes());
        let routes = routes.map(|route| (route.id, route.connections()));
        let unrouted = routed().map(|(listener, _)| (listener.id, unrouted(listener)));
        Self {
            at,
            cores: cores.collect(),
            listeners: listeners.collect(),
            servers: servers.collect(),
            routes: routes.collect(),
            unrouted: unrouted.collect(),
        }
    }
}

/// Connections of a listener that no route took, and that were refused.
pub(crate) fn unrouted(listener: &Listener) -> u64 {
    let no_route = |cells: &ListenerCells| cells.rejected[Rejection::NoRoute as usize].get();
    listener.cells.sum(no_route)
}

fn core(observed: &Observed, running: &Running, view: &View, worker: usize) -> CoreTotals {
    let sum = sums::over_listeners(view, worker);
    CoreTotals {
        accepts: sum.accepted,
        bytes: sum.bytes_in + sum.bytes_out,
        waits: threads::runqueue_wait(running.threads[worker].tid).unwrap_or_default(),
        migrations: sums::moved_in(observed, worker) + sums::moved_out(observed, worker),
    }
}

/// The last two readings.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    before: Totals,
    last: Totals,
}

impl Rates {
    /// Takes one more reading, no earlier than the one before.
    pub(crate) fn push(&mut self, totals: Totals) {
        self.before = std::mem::replace(&mut self.last, totals);
    }

    /// From now on nothing is gained: the workers sleep.
    pub(crate) fn rest(&mut self) {
        self.before = self.last.clone();
    }

    /// What a second brings of a counter, by the last two readings.
    pub(crate) fn per_second(&self, read: impl Fn(&Totals) -> Option<u64>) -> f64 {
        self.difference(|totals| read(totals).map(|count| count as f64))
    }

    /// Part of the time between the last two readings that a core waited for its CPU, 0 to 1.
    pub(crate) fn waits(&self, worker: usize) -> f64 {
        self.difference(|totals| Some(totals.cores.get(worker)?.waits.as_secs_f64()))
            .min(1.0)
    }

    fn difference(&self, read: impl Fn(&Totals) -> Option<f64>) -> f64 {
        let seconds = self.last.at.saturating_sub(self.before.at).as_secs_f64();
        match (read(&self.before), read(&self.last)) {
            // A thread that ended has no wait any more.
            (Some(before), Some(last)) if seconds > 0.0 => (last - before).max(0.0) / seconds,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn rates_are_of_the_last_two_readings() {
        let observed = fixture::proxy();
        let mut rates = Rates::default();
        let (redis, second) = (
            fixture::listener(&observed, 0),
            fixture::server(&observed, 1),
        );
        let slot = |worker| observed.running().generation.slot(worker);
        let bytes = |rates: &Rates| {
            rates.per_second(|totals| Some(totals.listeners.get(&redis.id)?.bytes_in))
        };
        let seconds = Duration::from_secs;
        assert_eq!(bytes(&rates), 0.0);
        redis.cells.of(slot(1)).bytes_in.add(100);
        // One reading has nothing to be compared with.
        rates.push(Totals::read(&observed, seconds(5)));
        assert_eq!(bytes(&rates), 0.0);
        redis.cells.of(slot(0)).bytes_in.add(600);
        let server = |worker| second.cells.of(slot(worker));
        server(1).failures[2].add(4);
        server(0).bytes_in.add(20);
        server(1).bytes_in.add(40);
        server(1).bytes_out.add(8);
        rates.push(Totals::read(&observed, seconds(7)));
        assert_eq!(bytes(&rates), 300.0);
        let core = |worker: usize| rates.per_second(|totals| Some(totals.cores.get(worker)?.bytes));
        assert_eq!((core(0), core(1)), (300.0, 0.0));
        let failures = rates.per_second(|totals| Some(totals.servers.get(&second.id)?.failures));
        assert_eq!(failures, 2.0);
        let of_server = |read: fn(&ServerTotals) -> u64| {
            rates.per_second(|totals| totals.servers.get(&second.id).map(read))
        };
        assert_eq!(of_server(|server| server.bytes_in), 30.0);
        assert_eq!(of_server(|server| server.bytes_out), 4.0);
        rates.rest();
        assert_eq!(bytes(&rates), 0.0);
    }
}
