//! One moment of the proxy, for the live page and for `corelane top`.

mod listeners;
mod round;
mod routes;
pub(crate) mod servers;
mod shares;
mod upstreams;

use proxy_core::View;

use self::round::{rounded, tenths, thousandths};
use crate::findings::{self, Scene};
use crate::observed::Observed;
use crate::observed::running::Running;
use crate::sampling::rates::{CoreTotals, Rates};
use crate::sampling::sampler::Watch;
use crate::sampling::sums::connections_of;
use proxy_state::{Core, Figures, Finding, State};

/// Everything that is shown, with the history after the point of the number `after`, or all of it.
pub(super) fn state(observed: &Observed, watch: &Watch, after: Option<u64>) -> State {
    let running = observed.running();
    let mut state = State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
        scheduler: running.profile.scheduler.to_owned(),
        mode: running.profile.mode.to_owned(),
        pinned: running.threads.iter().all(|thread| thread.cpu.is_some()),
        draining: observed.is_draining(),
        uptime_seconds: thousandths(watch.uptime().as_secs_f64()),
        unix_seconds: findings::unix_seconds(watch.origin().utc + watch.uptime()),
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
        state.history = load.history().after(after).cloned().collect();
        state.hour = load.history().hour_after(after).cloned().collect();
    }
    for point in state.history.iter_mut().chain(&mut state.hour) {
        point.imbalance = rounded(point.imbalance);
        for used in &mut point.utilization {
            *used = thousandths(*used);
        }
    }
    let view = observed.view();
    let origin = watch.origin();
    let now = origin.instant + watch.uptime();
    let rates = watch.rates();
    fill_cores(&mut state.cores, &running, &rates);
    state.listeners = listeners::of(observed, &view, &rates);
    (state.routes, state.routes_left_out) = routes::of(&view, &rates);
    state.upstreams = upstreams::of(&view, &rates);
    (state.servers, state.servers_left_out) = servers::of(&view, &rates, origin, now);
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

/// What the machine, or the container, is called.
fn host() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use proxy_core::Hold;
    use proxy_core::metrics::ConnectFailure;

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
        web.cells.of(slot).rejected[0].add(3);
        observed.running().generation.cells(0).started.increment();
        let _connection = proxy_core::Taken::beside(&second);
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
            .map(|l| (&l.name[..], l.connections, l.rejected))
            .collect();
        assert_eq!(listeners, [("redis", 0, 0), ("web", 1, 3)]);
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
        let labels: Vec<_> = (1..=1200).map(|port| port.to_string()).collect();
        let pool = fixture::pool(&observed.inventory, "many", &labels, false);
        pool.server(1199).set_down();
        let slot = |worker| observed.running().generation.slot(worker);
        let _connections = [(); 3].map(|()| proxy_core::Taken::beside(pool.server(1100)));
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
        assert_eq!((state.servers.len(), state.servers_left_out), (1024, 176));
        let labels: Vec<_> = state.servers.iter().map(|s| &s.server[..]).collect();
        assert_eq!(labels[..4], ["1200", "401", "1", "2"]);
        assert_eq!(state.servers[1].failures, 2.0);
        assert_eq!(labels.last(), Some(&"1101"), "it is busier than the others");
        // What is said of the upstream is of all its servers.
        let sums = state.upstreams.iter();
        let sums = sums.map(|one| (&one.name[..], one.servers, one.up, one.connections));
        assert_eq!(sums.collect::<Vec<_>>(), [("many", 1200, 1199, 3)]);
        assert_eq!(state.upstreams[0].failures, 2.0);
    }

    #[test]
    fn another_version_s_state_is_read() {
        let state: State =
            serde_json::from_str(r#"{"cores":[{"new":1}],"more":2}"#).expect("lenient");
        assert_eq!(state.cores, [Core::default()]);
    }

    #[test]
    fn a_server_has_its_checks_time_and_what_becomes_of_its_connections() {
        let observed = Arc::new(fixture::proxy());
        let watch = Watch::new(observed.clone());
        let [first, second] = [0, 1].map(|place| fixture::server(&observed, place));
        let servers = || state(&observed, &watch, None).servers;
        // One without connections has none to end.
        let shown = servers().remove(0);
        assert_eq!((shown.check_seconds, shown.closing), (Some(0.0025), None));
        let _of_first = proxy_core::Taken::beside(&first);
        let closing = servers().remove(0).closing.expect("it has one to end");
        assert_eq!((&closing.fate[..], &closing.how[..]), ("on_down", "reset"));
        assert!(closing.until > 0.0);
        let _of_second = proxy_core::Taken::beside(&second);
        let shown = servers().remove(1);
        assert_eq!((shown.check_seconds, shown.closing), (None, None));
    }

    #[test]
    fn a_server_s_state_has_its_reason_and_its_moment_and_shares_follow_it() {
        let observed = Arc::new(fixture::proxy());
        let watch = Watch::new(observed.clone());
        let [first, second] = [0, 1].map(|place| fixture::server(&observed, place));
        let _of_first = [(); 3].map(|()| proxy_core::Taken::beside(&first));
        let _of_second = proxy_core::Taken::beside(&second);
        let servers = || {
            let servers = state(&observed, &watch, None).servers;
            let told = servers.into_iter().map(|server| {
                let shares = (server.weight, server.wanted, server.had);
                (
                    server.server,
                    server.state,
                    server.why,
                    server.since,
                    shares,
                )
            });
            told.collect::<Vec<_>>()
        };
        let even = (Some(1.0), Some(0.5));
        let at = |server: usize| format!("10.0.0.1:{server}");
        let up = |server, (weight, wanted), had| {
            let none = (String::new(), None);
            (
                at(server),
                "up".to_owned(),
                none.0,
                none.1,
                (weight, wanted, had),
            )
        };
        assert_eq!(
            servers(),
            [up(1, even, Some(0.75)), up(2, even, Some(0.25))]
        );
        let moment = watch.origin().instant;
        first
            .outage
            .on_failure(ConnectFailure::Refused.into(), moment);
        // It goes down only with a later check, which is what people are told.
        let moment = moment + Duration::from_secs(5);
        first.set_up(false, moment);
        let since =
            (watch.origin().utc + Duration::from_secs(5)).duration_since(SystemTime::UNIX_EPOCH);
        let since = Some(since.expect("after 1970").as_secs_f64().round());
        let refused = "connection refused".to_owned();
        let shares = (Some(1.0), Some(0.0), Some(0.75));
        let down = (at(1), "down".to_owned(), refused, since, shares);
        assert_eq!(servers(), [down, up(2, (Some(1.0), Some(1.0)), Some(0.25))]);
        // Where none is up, all are tried.
        second.set_down();
        assert!(
            servers()
                .iter()
                .all(|(.., (_, wanted, _))| *wanted == Some(0.5))
        );
        for server in [&first, &second] {
            server.set_up(true, moment);
        }
        second.set_hold(Hold::Draining, true, moment);
        let drained = servers().remove(1);
        assert_eq!((&drained.1[..], drained.3), ("draining", since));
        assert_eq!(drained.4.1, Some(0.0));
    }
}
