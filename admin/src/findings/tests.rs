use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proxy_core::backend::Evening;
use proxy_core::metrics::{ConnectFailure, PrologueResult, Rejection};
use proxy_core::{ListenerSettings, Pool, View};

use super::*;
use crate::fixture::{self, STEALING};
use crate::observed::Observed;
use crate::origin::Origin;
use crate::recent::{Counts, Recent};
use proxy_state::{Core, Figures, State};

const SECOND: Duration = Duration::from_secs(1);

/// Noon of a day, and a moment.
fn origin() -> Origin {
    Origin {
        utc: SystemTime::UNIX_EPOCH + SECOND * 1_700_049_600,
        ..Origin::now()
    }
}

/// Utilization, connections and bytes of each core.
fn state(cores: &[(f64, u64, f64)]) -> State {
    let cores: Vec<_> = cores
        .iter()
        .map(|&(utilization_10s, connections, bytes)| Core {
            utilization_10s,
            connections,
            bytes,
            ..Core::default()
        })
        .collect();
    let used: Vec<_> = cores.iter().map(|core| core.utilization_10s).collect();
    State {
        connections: cores.iter().map(|core| core.connections).sum(),
        imbalance: Figures::from(proxy_state::Imbalance::of(&used)),
        cores,
        ..State::default()
    }
}

fn found(state: &State, observed: &Observed) -> Vec<Finding> {
    found_at(state, observed, origin(), &mut Recent::default(), SECOND)
}

fn found_at(
    state: &State,
    observed: &Observed,
    origin: Origin,
    recent: &mut Recent,
    at: Duration,
) -> Vec<Finding> {
    let view = observed.view();
    recent.on_sample(Counts::read(&view), at);
    let scene = Scene {
        state,
        observed,
        view: &view,
        recent,
        origin,
        at,
        has_spare_cpus: false,
    };
    of(&scene, &mut Held::default())
}

fn only(state: &State) -> Finding {
    let findings = found(state, &fixture::proxy());
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings[0].clone()
}

#[test]
fn a_hot_core_is_told_with_its_cause() {
    let crowded = [
        (0.2, 10, 1e6),
        (0.2, 10, 1e6),
        (0.2, 10, 1e6),
        (0.97, 90, 8e6),
    ];
    let found = only(&state(&crowded));
    assert_eq!(found.level, Level::Alarm);
    assert_eq!(
        found.what,
        "core 3 is at 97 % over ten seconds, the others at 20 %"
    );
    assert_eq!(found.why, "it has 90 of the 120 connections");
    assert!(found.remedy.contains(STEALING.keys), "{}", found.remedy);

    let heavy = [(0.97, 4, 9e8), (0.1, 40, 1e6)];
    let found = only(&state(&heavy));
    assert_eq!(
        found.what,
        "core 0 is at 97 % over ten seconds, the other at 10 %"
    );
    assert_eq!(
        found.why,
        "it moved 100 % of the last second's bytes with 9 % of the connections: a few heavy ones"
    );

    let elephant = [(0.97, 1, 9e8), (0.0, 0, 0.0)];
    let found = only(&state(&elephant));
    assert!(
        found.remedy.starts_with("one connection can't"),
        "{}",
        found.remedy
    );
}

#[test]
fn a_remedy_fits_what_runs() {
    let heavy = state(&[(0.97, 4, 9e8), (0.1, 40, 1e6)]);
    let remedy = |evening| {
        let observed = fixture::proxy_with(evening);
        found(&heavy, &observed)[0].remedy.clone()
    };
    assert!(remedy(Evening::CouldMove("set enabled = true")).contains("set enabled = true"));
    assert!(!remedy(Evening::Steals).contains(STEALING.keys));
    let on = remedy(Evening::Moves);
    assert!(on.starts_with("rebalancing is on"), "{on}");
    assert!(!on.contains("enabled"), "{on}");

    let busy = state(&[(0.95, 4, 1e6), (0.96, 4, 1e6)]);
    let remedy = |has_spare_cpus| {
        let scene = Scene {
            state: &busy,
            observed: &fixture::proxy(),
            view: &View::default(),
            recent: &Recent::default(),
            origin: origin(),
            at: SECOND,
            has_spare_cpus,
        };
        of(&scene, &mut Held::default())[0].remedy.clone()
    };
    assert!(remedy(true).contains("[runtime] cores"));
    assert!(!remedy(false).contains("[runtime] cores"), "it has all");
}

#[test]
fn what_is_not_hot_is_no_alarm() {
    // Utilization, the level, and how it begins.
    let table: &[(&[f64], Level, &str)] = &[
        (&[0.0, 0.01], Level::Good, "all cores are idle"),
        (
            &[0.5, 0.45],
            Level::Good,
            "the load is even: cores are at 45 % to 50 % over ten seconds",
        ),
        (
            &[0.3, 0.1],
            Level::Good,
            "the load is uneven, but light: cores are at 10 % to 30 % over ten seconds",
        ),
        (
            &[0.6, 0.1],
            Level::Warning,
            "core 0 is at 60 % over ten seconds, the other at 10 %",
        ),
        (
            &[0.95, 0.9],
            Level::Alarm,
            "all cores are busy: 92 % on average over ten seconds",
        ),
        (
            &[0.5],
            Level::Good,
            "the only core is at 50 % over ten seconds",
        ),
        (
            &[0.97],
            Level::Alarm,
            "the only core is at 97 % over ten seconds",
        ),
    ];
    for &(used, level, what) in table {
        let cores: Vec<_> = used.iter().map(|&used| (used, 5, 1e3)).collect();
        let found = only(&state(&cores));
        assert_eq!((found.level, &found.what[..]), (level, what));
    }
}

/// A quiet proxy with these upstreams: each with its servers, and how each of them fails.
fn observed(
    upstreams: &[(&str, &[Option<ConnectFailure>])],
    since: Instant,
    checked: bool,
) -> Observed {
    let observed = fixture::proxy();
    let inventory = &observed.inventory;
    let pools = upstreams
        .iter()
        .enumerate()
        .map(|(place, (name, servers))| {
            let labels = (1..=servers.len()).map(|server| format!("10.0.0.{}:{server}", place + 1));
            let pool = fixture::pool(inventory, name, &labels.collect::<Vec<_>>(), checked);
            for (server, failure) in pool.servers().zip(*servers) {
                if let Some(reason) = failure {
                    server.set_up(false);
                    server.outage.on_failure((*reason).into(), since);
                }
            }
            pool
        });
    let pools: Vec<_> = pools.collect();
    let settings = |pool: &Arc<Pool>| {
        let listener = inventory.listener(&pool.upstream().name);
        Arc::new(ListenerSettings {
            max_connections: Some(5),
            ..ListenerSettings::new(listener, pool.clone())
        })
    };
    fixture::configure(&observed, pools.iter().map(settings).collect(), pools);
    observed
}

const REFUSED: Option<ConnectFailure> = Some(ConnectFailure::Refused);
const TIMEOUT: Option<ConnectFailure> = Some(ConnectFailure::Timeout);

fn idle() -> State {
    state(&[(0.0, 0, 0.0), (0.0, 0, 0.0)])
}

#[test]
fn servers_that_are_down_are_one_alarm_with_reason_and_since() {
    let origin = origin();
    let since = origin.instant + SECOND * 90;
    let upstreams: [(&str, &[_]); 3] = [
        ("aa", &[TIMEOUT, None]),
        ("bb", &[REFUSED, REFUSED]),
        ("cc", &[None]),
    ];
    let observed = observed(&upstreams, since, true);
    let at = SECOND * 100;
    let found = found_at(&idle(), &observed, origin, &mut Recent::default(), at);
    let told = &found[0];
    assert_eq!(
        (told.level, &told.what[..]),
        (
            Level::Alarm,
            "3 servers are down: bb has none left (2 of 2); aa 1 of 2"
        )
    );
    assert_eq!(
        told.why,
        "10.0.0.2:1 of bb: connection refused since 12:01:30 UTC; 10.0.0.2:2 of bb: connection refused since \
         12:01:30 UTC; 10.0.0.1:1 of aa: no answer (timeout) since 12:01:30 UTC; clients of bb are closed, though all \
         servers are still tried; the other servers of aa get the connections"
    );
    assert!(told.remedy.contains("nothing listens at 10.0.0.2:1"));
    assert_eq!(told.since, Some(1_700_049_690.0));
    // Nothing else is wrong.
    assert!(found[1..].iter().all(|found| found.level == Level::Good));

    let what = |upstreams: &[(&str, &[_])]| {
        let observed = super::tests::observed(upstreams, since, true);
        let told = found_at(&idle(), &observed, origin, &mut Recent::default(), at).remove(0);
        (told.level, told.what)
    };
    let (level, told) = what(&[("aa", &[None, REFUSED])]);
    assert_eq!(level, Level::Warning);
    assert_eq!(told, "server 10.0.0.1:2 of upstream aa is down (1 of 2)");
    let (level, told) = what(&[("aa", &[REFUSED])]);
    assert_eq!(level, Level::Alarm);
    assert_eq!(
        told,
        "server 10.0.0.1:1 is down, the only one of upstream aa"
    );
}

#[test]
fn all_servers_are_looked_at() {
    let mut servers = vec![None; 1000];
    servers[999] = REFUSED;
    let observed = observed(&[("many", &servers)], origin().instant, true);
    let told = found(&idle(), &observed).remove(0);
    assert_eq!(
        told.what,
        "server 10.0.0.1:1000 of upstream many is down (1 of 1000)"
    );
}

#[test]
fn connects_that_all_fail_are_an_alarm_before_checks_notice() {
    let origin = origin();
    let observed = observed(&[("aa", &[None, None])], origin.instant, true);
    let mut recent = Recent::default();
    let upstream = observed.view().upstreams[0].upstream.clone();
    let cells = upstream.cells.of(observed.running().generation.slot(1));
    cells.unserved.add(3);
    let mut look =
        |second| found_at(&idle(), &observed, origin, &mut recent, SECOND * second).remove(0);
    let told = look(1);
    assert_eq!(
        (told.level, &told.what[..]),
        (Level::Alarm, "every connect of upstream aa fails")
    );
    assert_eq!(
        told.why,
        "3 clients of aa found no server since 12:00:01 UTC; its health checks haven't noticed yet"
    );
    // Once they have, it is one alarm still.
    for place in [0, 1] {
        fixture::server(&observed, place).set_up(false);
    }
    assert_eq!(
        look(2).what,
        "2 servers are down: aa has none left (2 of 2)"
    );
}

#[test]
fn clients_that_are_turned_away_are_told_by_the_reason() {
    let observed = observed(&[("aa", &[None]), ("bb", &[None])], origin().instant, false);
    let reject = |listener: usize, reason: Rejection, count| {
        let listener = fixture::listener(&observed, listener);
        let cells = listener.cells.of(observed.running().generation.slot(0));
        cells.rejected[reason as usize].add(count);
    };
    reject(0, Rejection::MaxConnections, 2);
    reject(1, Rejection::MaxConnections, 12);
    reject(1, Rejection::Descriptors, 1);
    let found = found(&idle(), &observed);
    let told: Vec<_> = found
        .iter()
        .map(|found| (found.level, &found.what[..], &found.why[..]))
        .collect();
    assert_eq!(
        told[..2],
        [
            (
                Level::Alarm,
                "listener bb turns clients away: it has its max_connections (5); so does 1 other listener",
                "12 clients were closed at once since 12:00:01 UTC"
            ),
            (
                Level::Alarm,
                "listener bb can't take clients on: there is no descriptor or memory left",
                "accepting paused once since 12:00:01 UTC; clients wait meanwhile"
            ),
        ]
    );
    assert!(found[0].remedy.contains("[listeners.bb]"));
}

#[test]
fn peers_that_announce_nobody_are_told_of() {
    let observed = observed(&[("aa", &[None])], origin().instant, false);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    cells.prologue[PrologueResult::NoHeader as usize].add(3);
    cells.prologue[PrologueResult::Untrusted as usize].add(1);
    // Anybody may be slow, and a check is none's fault.
    cells.prologue[PrologueResult::Timeout as usize].add(30);
    cells.prologue[PrologueResult::Probe as usize].add(30);
    let found = found(&idle(), &observed);
    assert_eq!(found[0].level, Level::Warning);
    assert_eq!(
        found[0].what,
        "listener aa refuses clients: they begin with no header of the PROXY protocol"
    );
    assert_eq!(found[0].why, "4 clients were refused since 12:00:01 UTC");
}

/// What of the last second is told as past once another second has come.
#[test]
fn what_is_over_is_told_in_the_past() {
    let origin = origin();
    let servers = [REFUSED];
    let observed = observed(&[("aa", &servers)], origin.instant, true);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    cells.rejected[0].add(1);
    let mut busy = state(&[(0.97, 4, 9e8), (0.1, 40, 1e3)]);
    busy.cores[0].waits = 0.4;
    let (mut recent, mut held) = (Recent::default(), Held::default());
    let mut look = |state: &State, second: u32| -> Vec<String> {
        let at = SECOND * second;
        let view = observed.view();
        recent.on_sample(Counts::read(&view), at);
        let scene = Scene {
            state,
            observed: &observed,
            view: &view,
            recent: &recent,
            origin,
            at,
            has_spare_cpus: false,
        };
        let findings = of(&scene, &mut held).into_iter();
        findings
            .map(|one| format!("{} ({})", one.what, one.why))
            .collect()
    };
    let now = look(&busy, 1).join("; ");
    for told in [
        "listener aa turns clients away: it has its max_connections",
        "core 0 waited 40 % of the last second for its CPU (something else runs there",
        "core 0 is at 97 % over ten seconds, the other at 10 % (it moved 100 % of the last second's bytes",
        "server 10.0.0.1:1 is down, the only one of upstream aa",
    ] {
        assert!(now.contains(told), "{told:?} is missing in: {now}");
    }
    fixture::server(&observed, 0).set_up(true);
    let then = look(&idle(), 5).join("; ");
    for told in [
        "listener aa turned clients away: it had its max_connections",
        "core 0 waited 40 % of a second for its CPU (something else ran there",
        "core 0 was at 97 % over ten seconds, the other at 10 % (it moved 100 % of a second's bytes",
        "server 10.0.0.1:1 was down, the only one of upstream aa",
    ] {
        assert!(then.contains(told), "{told:?} is missing in: {then}");
    }
    assert!(!then.contains("last second"), "{then}");
}

#[test]
fn trouble_is_told_by_urgency() {
    let mut state = state(&[(0.5, 5, 1e3), (0.5, 5, 1e3)]);
    state.cores[1].waits = 0.4;
    state.cores[1].cpu = Some(7);
    state.draining = true;
    let observed = observed(&[("pool", &[None, REFUSED])], origin().instant, false);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    cells.rejected[0].add(1);
    let what: Vec<_> = found(&state, &observed)
        .into_iter()
        .map(|finding| finding.what)
        .collect();
    assert_eq!(
        what,
        [
            "listener pool turns clients away: it has its max_connections (5)",
            "core 1 (CPU 7) waited 40 % of the last second for its CPU",
            "server 10.0.0.1:2 of upstream pool is down (1 of 2)",
            "it drains: no new connections are taken",
            "the load is even: cores are at 50 % to 50 % over ten seconds",
        ]
    );
}

#[test]
fn every_limit_is_told_but_not_who_is_denied() {
    let observed = observed(&[("aa", &[None])], origin().instant, false);
    let listener = fixture::listener(&observed, 0);
    let cells = listener.cells.of(observed.running().generation.slot(0));
    for reason in [
        Rejection::Denied,
        Rejection::ProcessConnections,
        Rejection::SourceConnections,
        Rejection::Rate,
        Rejection::SourceRate,
    ] {
        cells.rejected[reason as usize].add(3);
    }
    let found = found(&idle(), &observed);
    let told: Vec<_> = found
        .iter()
        .filter(|found| found.what.starts_with("listener aa"))
        .map(|found| (found.level, &found.what[..]))
        .collect();
    assert_eq!(
        told,
        [
            (
                Level::Alarm,
                "listener aa turns clients away: the process has its max_connections"
            ),
            (
                Level::Alarm,
                "listener aa turns clients away: more come than its max_rate"
            ),
            (
                Level::Warning,
                "listener aa turns clients away: a source has its max_connections_per_source"
            ),
            (
                Level::Warning,
                "listener aa turns clients away: a source is beyond its max_rate_per_source"
            ),
        ]
    );
}

#[test]
fn a_list_that_is_not_in_order_is_told() {
    let observed = observed(&[("aa", &[None])], origin().instant, false);
    let told = |problem: Option<&str>| {
        let list = crate::client_lists::ClientList {
            file: "/etc/deny.txt".to_owned(),
            entries: 3,
            problem: problem.map(str::to_owned),
        };
        observed.client_lists.set(vec![list]);
        let found = found(&idle(), &observed);
        found
            .into_iter()
            .find(|found| found.what.starts_with("the list"))
    };
    let told_of = told(Some("line 2: no")).expect("it is told");
    assert_eq!(
        told_of.what,
        "the list /etc/deny.txt is not in order: what was read before stays in force"
    );
    assert_eq!(told_of.why, "line 2: no");
    assert_eq!(told(None).map(|found| found.what), None);
}
