//! One moment of the proxy, for the live page and for `corelane top`.

use std::cmp::Reverse;

use super::cores::connections_of;
use super::findings::{self, Scene};
use super::rates::{CoreTotals, ListenerTotals, Rates, ServerTotals};
use super::sampler::Watch;
use crate::observed::Observed;
use proxy_state::{Core, Figures, Finding, Listener, SERVERS_SHOWN_MAX, Server, State};

/// Everything that is shown, with the history after the point of the number `after`, or all of it.
pub(super) fn state(observed: &Observed, watch: &Watch, after: Option<u64>) -> State {
    let mut state = State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scheduler: observed.profile.scheduler.to_owned(),
        mode: observed.profile.mode.to_owned(),
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
    (state.servers, state.servers_left_out) = servers(observed, &rates);
    drop(rates);
    let listeners = || state.listeners.iter();
    let connections = listeners().map(|listener| listener.connections).sum();
    let bytes_in: f64 = listeners().map(|listener| listener.bytes_in).sum();
    let bytes_out: f64 = listeners().map(|listener| listener.bytes_out).sum();
    state.connections = connections;
    (state.bytes_in, state.bytes_out) = (tenths(bytes_in), tenths(bytes_out));
    state.findings = findings(&state, observed, watch);
    let advice = watch.advice().into_iter();
    state.advice = advice.map(|advice| advice.text).collect();
    state
}

fn findings(state: &State, observed: &Observed, watch: &Watch) -> Vec<Finding> {
    // What happened since the last sample counts: it may be the first that happens.
    let at = watch.count_recent();
    let scene = Scene {
        state,
        observed,
        recent: &watch.recent(),
        origin: watch.origin(),
        at,
        has_spare_cpus: watch.has_spare_cpus,
    };
    findings::of(&scene, &mut watch.held())
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
                waiting: observed.surroundings.waiting(index),
            }
        })
        .collect()
}

/// The servers that are shown, and how many are not.
fn servers(observed: &Observed, rates: &Rates) -> (Vec<Server>, usize) {
    let servers = observed.upstreams.iter().flat_map(|upstream| {
        let servers = upstream.servers().iter().enumerate();
        servers.map(move |(index, server)| (upstream, index, server))
    });
    let rate = |place: usize, read: fn(&ServerTotals) -> u64| {
        tenths(rates.per_second(|totals| totals.servers.get(place).map(read)))
    };
    let mut places: Vec<_> = servers
        .enumerate()
        .map(|(place, (upstream, index, server))| {
            let fails = rate(place, |totals| totals.failures) > 0.0;
            // What is to be seen first is the least; what was found first of it stays first.
            let urgency = match (server.is_up(), fails) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => 2,
            };
            (urgency, place, upstream, index, server)
        })
        .collect();
    let left_out = places.len().saturating_sub(SERVERS_SHOWN_MAX);
    if left_out > 0 {
        places.sort_by_cached_key(|&(urgency, place, upstream, index, _)| {
            (urgency, Reverse(upstream.connections(index)), place)
        });
        places.truncate(SERVERS_SHOWN_MAX);
    }
    places.sort_by_key(|&(urgency, place, ..)| (urgency, place));
    let shown = places
        .into_iter()
        .map(|(_, place, upstream, index, server)| {
            let rate = |read: fn(&ServerTotals) -> u64| rate(place, read);
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
        });
    (shown.collect(), left_out)
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
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use proxy_core::{Balance, ServerAddress, Upstream};

    use super::*;
    use crate::fixture;
    use crate::rates::Totals;

    #[test]
    fn names_and_counts_are_there() {
        let observed = Arc::new(fixture::proxy());
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
    fn beyond_what_is_shown_those_that_are_down_and_the_busiest_are() {
        let mut observed = fixture::proxy();
        let servers = (1..=600).map(|port| {
            let address = SocketAddr::from(([10, 0, 0, 1], port));
            proxy_core::Server::fixed(port.to_string(), ServerAddress::Tcp(address), 1)
        });
        let (balance, timeout) = (Balance::least_connections(), Duration::from_secs(1));
        let upstream = Upstream::new("many".to_owned(), servers.collect(), balance, timeout, 2);
        upstream.servers()[599].set_up(false);
        upstream.cells.of(1).servers[500].opened.add(3);
        observed.upstreams = vec![Arc::new(upstream)];
        let observed = Arc::new(observed);
        let watch = Watch::new(observed.clone());
        let rates = |at| {
            watch
                .rates()
                .push(Totals::read(&observed, Duration::from_secs(at)))
        };
        rates(1);
        observed.upstreams[0].cells.of(0).servers[400].failures[0].add(2);
        rates(2);
        let state = state(&observed, &watch, None);
        assert_eq!((state.servers.len(), state.servers_left_out), (256, 344));
        let labels: Vec<_> = state.servers.iter().map(|s| &s.server[..]).collect();
        assert_eq!(labels[..4], ["600", "401", "1", "2"]);
        assert_eq!(state.servers[1].failures, 2.0);
        assert_eq!(labels.last(), Some(&"501"), "it is busier than the others");
    }

    #[test]
    fn another_version_s_state_is_read() {
        let state: State =
            serde_json::from_str(r#"{"cores":[{"new":1}],"more":2}"#).expect("lenient");
        assert_eq!(state.cores, [Core::default()]);
    }
}
