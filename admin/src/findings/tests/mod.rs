//! What is found of proxies made by hand.

mod clients;
mod cores;
mod order;
mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proxy_core::metrics::ConnectFailure;
use proxy_core::{ListenerSettings, Pool};

use super::*;
use crate::fixture;
use crate::observed::Observed;
use crate::sampling::origin::Origin;
use crate::sampling::recent::{Counts, Recent};
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
                    server.set_down();
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
