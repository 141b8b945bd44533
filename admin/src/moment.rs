//! One moment of the proxy, for the live page and for `corelane top`.

use std::cmp::Reverse;

use proxy_core::{Id, ListenerView, View};

use crate::findings::{self, Scene};
use crate::observed::Observed;
use crate::observed::running::Running;
use crate::sampling::rates::{CoreTotals, ListenerTotals, Rates, ServerTotals};
use crate::sampling::sampler::Watch;
use crate::sampling::sums::connections_of;
use proxy_state::{Core, Figures, Finding, Listener, SERVERS_SHOWN_MAX, Server, State};

/// Everything that is shown, with the history after the point of the number `after`, or all of it.
pub(super) fn state(observed: &Observed, watch: &Watch, after: Option<u64>) -> State {
    let running = observed.running();
    let mut state = State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scheduler: running.profile.scheduler.to_owned(),
        mode: running.profile.mode.to_owned(),
        pinned: running.threads.iter().all(|thread| thread.cpu.is_some()),
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
    let view = observed.view();
    let rates = watch.rates();
    fill_cores(&mut state.cores, &running, &rates);
    state.listeners = listeners(observed, &view, &rates);
    (state.servers, state.servers_left_out) = servers(&view, &rates);
    drop(rates);
    let listeners = || state.listeners.iter();
    let connections = listeners().map(|listener| listener.connections).sum();
    let bytes_in: f64 = listeners().map(|listener| listener.bytes_in).sum();
    let bytes_out: f64 = listeners().map(|listener| listener.bytes_out).sum();
    state.connections = connections;
    (state.bytes_in, state.bytes_out) = (tenths(bytes_in), tenths(bytes_out));
    state.findings = findings(&state, observed, &view, watch);
    let advice = watch.advice().into_iter();
    state.advice = advice.map(|advice| advice.text).collect();
    state
}

fn findings(state: &State, observed: &Observed, view: &View, watch: &Watch) -> Vec<Finding> {
    // What happened since the last sample counts: it may be the first that happens.
    let at = watch.count_recent();
    let scene = Scene {
        state,
        observed,
        view,
        recent: &watch.recent(),
        origin: watch.origin(),
        at,
        has_spare_cpus: watch.has_spare_cpus(),
    };
    findings::of(&scene, &mut watch.held())
}

fn fill_cores(cores: &mut [Core], running: &Running, rates: &Rates) {
    for (worker, core) in cores.iter_mut().enumerate() {
        let rate = |read: fn(&CoreTotals) -> u64| {
            tenths(rates.per_second(|totals| totals.cores.get(worker).map(read)))
        };
        core.cpu = running.threads.get(worker).and_then(|thread| thread.cpu);
        if worker < running.threads.len() {
            core.connections = connections_of(running, worker);
        }
        core.accepts = rate(|totals| totals.accepts);
        core.bytes = rate(|totals| totals.bytes);
        core.waits = thousandths(rates.waits(worker));
        core.migrations = rate(|totals| totals.migrations);
    }
}

fn listeners(observed: &Observed, view: &View, rates: &Rates) -> Vec<Listener> {
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
            waiting: observed.surroundings.waiting(&listener.name),
        }
    };
    view.listeners.iter().map(shown).collect()
}

/// The servers that are shown, and how many are not.
fn servers(view: &View, rates: &Rates) -> (Vec<Server>, usize) {
    let servers = view.upstreams.iter().flat_map(|view| {
        let members = view.members().len();
        let servers = view.servers.iter().enumerate();
        servers.map(move |(index, server)| (view, index < members, server))
    });
    let rate = |id: Id, read: fn(&ServerTotals) -> u64| {
        tenths(rates.per_second(|totals| totals.servers.get(&id).map(read)))
    };
    let mut places: Vec<_> = servers
        .enumerate()
        .map(|(place, (view, is_member, server))| {
            let fails = rate(server.id, |totals| totals.failures) > 0.0;
            // What is to be seen first is the least; what was found first of it stays first.
            let urgency = match (is_member, server.is_up(), fails) {
                (true, false, _) => 0,
                (true, true, true) => 1,
                (true, true, false) => 2,
                (false, ..) => 3,
            };
            (urgency, place, view, server)
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
    let shown = places.into_iter().map(|(_, _, view, server)| {
        let rate = |read: fn(&ServerTotals) -> u64| rate(server.id, read);
        Server {
            upstream: server.upstream.clone(),
            server: server.label.clone(),
            up: server.is_up(),
            checked: view.is_checked(),
            connections: server.connections(),
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
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::fixture;
    use crate::sampling::rates::Totals;

    #[test]
    fn names_and_counts_are_there() {
        let observed = Arc::new(fixture::proxy());
        let slot = observed.running().generation.slot(0);
        let (web, second) = (
            fixture::listener(&observed, 1),
            fixture::server(&observed, 1),
        );
        web.cells.of(slot).accepted.increment();
        observed.running().generation.cells(0).started.increment();
        second.cells.of(slot).opened.increment();
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
        let observed = fixture::proxy();
        let labels: Vec<_> = (1..=600).map(|port| port.to_string()).collect();
        let pool = fixture::pool(&observed.inventory, "many", &labels, false);
        pool.server(599).set_up(false);
        let slot = |worker| observed.running().generation.slot(worker);
        pool.server(500).cells.of(slot(1)).opened.add(3);
        fixture::configure(&observed, Vec::new(), vec![pool.clone()]);
        let failing = pool.server(400).cells.of(slot(0));
        let observed = Arc::new(observed);
        let watch = Watch::new(observed.clone());
        let rates = |at| {
            watch
                .rates()
                .push(Totals::read(&observed, Duration::from_secs(at)))
        };
        rates(1);
        failing.failures[0].add(2);
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
