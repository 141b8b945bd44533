//! One moment of the proxy, for the live page and for `corelane top`.

use super::cores::connections_of;
use super::findings;
use super::rates::{CoreTotals, ListenerTotals, Rates, ServerTotals};
use super::sampler::Watch;
use crate::observed::Observed;
use crate::state::{Core, Figures, Listener, SERVERS_SHOWN_MAX, Server, State};

/// Everything that is shown, with the history after the point of the number `after`, or all of it.
pub(super) fn state(observed: &Observed, watch: &Watch, after: Option<u64>) -> State {
    let mut state = State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scheduler: observed.scheduler.to_owned(),
        mode: observed.mode.to_owned(),
        pinned: observed.threads.iter().all(|thread| thread.cpu.is_some()),
        draining: observed.is_draining(),
        uptime_seconds: thousandths(watch.uptime().as_secs_f64()),
        ..State::default()
    };
    {
        let load = watch.load();
        state.imbalance = rounded(Figures::from(load.imbalance()));
        let (last, recent) = (load.utilization(), load.recent_utilization());
        state.cores = last
            .iter()
            .zip(recent)
            .map(|(&last, recent)| Core {
                utilization: thousandths(last),
                utilization_10s: thousandths(recent),
                ..Core::default()
            })
            .collect();
        state.history = load.history_after(after).cloned().collect();
    }
    for point in &mut state.history {
        point.imbalance = rounded(point.imbalance);
        for used in &mut point.utilization {
            *used = thousandths(*used);
        }
    }
    let rates = watch.rates();
    fill_cores(&mut state.cores, observed, &rates);
    state.listeners = listeners(observed, &rates);
    state.servers = servers(observed, &rates);
    drop(rates);
    let servers: usize = observed
        .upstreams
        .iter()
        .map(|upstream| upstream.servers().len())
        .sum();
    state.servers_left_out = servers - state.servers.len();
    let listeners = || state.listeners.iter();
    let connections = listeners().map(|listener| listener.connections).sum();
    let bytes_in: f64 = listeners().map(|listener| listener.bytes_in).sum();
    let bytes_out: f64 = listeners().map(|listener| listener.bytes_out).sum();
    state.connections = connections;
    (state.bytes_in, state.bytes_out) = (tenths(bytes_in), tenths(bytes_out));
    state.findings = findings::of(&state);
    let advice = watch.advice().into_iter();
    state.advice = advice.map(|advice| advice.text).collect();
    state
}

fn fill_cores(cores: &mut [Core], observed: &Observed, rates: &Rates) {
    for (worker, core) in cores.iter_mut().enumerate() {
        let rate = |read: fn(&CoreTotals) -> u64| {
            tenths(rates.per_second(|totals| totals.cores.get(worker).map(read)))
        };
        core.cpu = observed.threads[worker].cpu;
        core.connections = connections_of(observed, worker);
        core.accepts = rate(|totals| totals.accepts);
        core.bytes = rate(|totals| totals.bytes);
        core.waits = thousandths(rates.waits(worker));
        core.migrations = rate(|totals| totals.migrations);
    }
}

fn listeners(observed: &Observed, rates: &Rates) -> Vec<Listener> {
    let listeners = observed.listeners.iter().enumerate();
    listeners
        .map(|(index, listener)| {
            let rate = |read: fn(&ListenerTotals) -> u64| {
                tenths(rates.per_second(|totals| totals.listeners.get(index).map(read)))
            };
            Listener {
                name: listener.name.clone(),
                upstream: listener.upstream.name.clone(),
                connections: listener.connections(),
                accepts: rate(|totals| totals.accepts),
                bytes_in: rate(|totals| totals.bytes_in),
                bytes_out: rate(|totals| totals.bytes_out),
                rejects: rate(|totals| totals.rejects),
                waiting: observed.backlogs.waiting(index),
            }
        })
        .collect()
}

fn servers(observed: &Observed, rates: &Rates) -> Vec<Server> {
    let servers = observed.upstreams.iter().flat_map(|upstream| {
        let servers = upstream.servers().iter().enumerate();
        servers.map(move |(index, server)| (upstream, index, server))
    });
    servers
        .take(SERVERS_SHOWN_MAX)
        .enumerate()
        .map(|(shown, (upstream, index, server))| {
            let rate = |read: fn(&ServerTotals) -> u64| {
                tenths(rates.per_second(|totals| totals.servers.get(shown).map(read)))
            };
            Server {
                upstream: upstream.name.clone(),
                server: server.label.clone(),
                up: server.is_up(),
                checked: upstream.checks.is_some(),
                connections: upstream.connections(index),
                connects: rate(|totals| totals.connects),
                failures: rate(|totals| totals.failures),
                bytes_in: rate(|totals| totals.bytes_in),
                bytes_out: rate(|totals| totals.bytes_out),
            }
        })
        .collect()
}

/// Digits that nobody sees would be most of the JSON.
fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn rounded(figures: Figures) -> Figures {
    Figures {
        ratio: thousandths(figures.ratio),
        stranded: thousandths(figures.stranded),
        fairness: thousandths(figures.fairness),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::fixture;

    #[test]
    fn names_and_counts_are_there() {
        let observed = Arc::new(fixture::glommio());
        observed.listeners[1].cells.of(0).accepted.increment();
        observed.cores.of(0).started.increment();
        observed.upstreams[0].cells.of(0).servers[1]
            .opened
            .increment();
        let state = state(&observed, &Watch::new(observed.clone()), None);
        let cores: Vec<_> = state
            .cores
            .iter()
            .map(|core| (core.cpu, core.connections))
            .collect();
        assert_eq!(cores, [(Some(4), 1), (Some(5), 0)]);
        let listeners: Vec<_> = state
            .listeners
            .iter()
            .map(|l| (&l.name[..], l.connections))
            .collect();
        assert_eq!(listeners, [("redis", 0), ("web", 1)]);
        let servers: Vec<_> = state
            .servers
            .iter()
            .map(|s| (&s.server[..], s.connections, s.up))
            .collect();
        assert_eq!(servers, [("10.0.0.1:1", 0, true), ("10.0.0.1:2", 1, true)]);
        assert_eq!((state.connections, state.servers_left_out), (1, 0));
        assert!(!state.findings.is_empty());
        let json = serde_json::to_string(&state).expect("no maps with odd keys");
        assert_eq!(
            serde_json::from_str::<State>(&json).expect("its own"),
            state
        );
    }

    #[test]
    fn another_version_s_state_is_read() {
        let state: State =
            serde_json::from_str(r#"{"cores":[{"new":1}],"more":2}"#).expect("lenient");
        assert_eq!(state.cores, [Core::default()]);
    }
}
