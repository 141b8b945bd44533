//! Another scheduler takes over while connections run.
//!
//! The new one starts beside the old one, in slots of its own, and accepts from the same sockets; only then the old one stops
//! accepting. So no client is refused, and if the new one can't start, the old one goes on as if nothing had been asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_config::{Config, OnSwitch, Runtime};
use proxy_core::backend::{Backend, Listening, Plan};
use proxy_core::{Generation, ListenerSettings, Table};

use crate::aside::Stopper;
use crate::proxy::{Proxy, observe};
use crate::start_error::{Explain, cannot_start};
use crate::workers::{Leaving, Left, STOP_PATIENCE};
use crate::{cpus, scheduler};

/// A scheduler that accepts, beside the one that is to go.
pub(crate) struct Begun {
    backend: Box<dyn Backend>,
    generation: Arc<Generation>,
    /// Ends the one that it takes over from.
    stopper: Stopper,
    at: Instant,
}

impl Begun {
    /// The scheduler that takes over.
    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }
}

/// Starts the scheduler of a new configuration on the sockets of the old one.
///
/// # Errors
/// When it can't run, which is counted: the old one goes on.
pub(crate) async fn begin(proxy: &Proxy, new: &Config) -> anyhow::Result<Begun> {
    let at = now();
    let from = proxy.workers.running.profile().name;
    let started = match start(proxy, new) {
        Ok(started) => listen(proxy, started, new.runtime.drain_timeout).await,
        Err(error) => Err(error),
    };
    let (backend, generation, stopper) = started.inspect_err(|_| {
        // Those of the new one are gone.
        proxy_core::descriptors::reserve(proxy.workers.generation.workers());
        let to = scheduler::name(&new.runtime);
        let switches = &proxy.observed.switches;
        switches.count((from, to), false, now() - at, 0);
    })?;
    Ok(Begun {
        backend,
        generation,
        stopper,
        at,
    })
}

/// Takes the old scheduler's connections over, or lets them finish, as `on_switch` says; returns when it has ended. If it is
/// not waited for to the end, the old one is among the proxy's workers until they end.
pub(crate) async fn finish(proxy: &mut Proxy, begun: Begun, runtime: &Runtime) {
    let Begun {
        backend,
        generation,
        stopper,
        at,
    } = begun;
    let (from, to) = (proxy.workers.running.profile(), backend.profile());
    let workers = backend.threads().len();
    tracing::info!(
        from = from.name,
        to = to.name,
        workers,
        "another scheduler takes over"
    );
    let observed = proxy.observed.clone();
    observed.switch_to(observe(&*backend, generation.clone()));
    observed.tables.current().apply_shares(to.queues);
    let moves = runtime.on_switch == OnSwitch::Move;
    proxy.workers.replace(backend, generation, moves);
    let Left { moved, cut } = proxy.workers.leave(runtime.drain_timeout, stopper).await;
    observed.retire();
    proxy_core::descriptors::reserve(workers);
    let took = now() - at;
    let names = (from.name, to.name);
    observed.switches.count(names, true, took, moved);
    if cut > 0 {
        tracing::warn!(
            cut,
            timeout = ?runtime.drain_timeout,
            "connections of the scheduler before were not over within drain_timeout: they are reset"
        );
    }
    tracing::info!(to = to.name, moved, ?took, "the switch is over");
}

/// A scheduler whose workers run, and the thread that ends it if it can't take over, or else the one before.
type Started = (Box<dyn Backend>, Arc<Generation>, Stopper);

fn start(proxy: &Proxy, new: &Config) -> anyhow::Result<Started> {
    let stopper = Stopper::start(STOP_PATIENCE);
    let stopper =
        stopper.explain(|error| cannot_start("the thread that ends a scheduler", error))?;
    let cpus = cpus::assign(&new.runtime)?;
    let before = proxy.workers.generation.workers();
    let generation = Arc::new(proxy.workers.generation.successor(cpus.len())?);
    // Before any of them accepts.
    proxy_core::descriptors::reserve(before + cpus.len());
    let plan = Plan {
        cpus,
        generation: generation.clone(),
        deaths: proxy.workers.deaths.clone(),
    };
    Ok((scheduler::start(plan, &new.runtime)?, generation, stopper))
}

/// Has a scheduler accept from the sockets that there are. If it can't, the connections that it has accepted go to the old one.
async fn listen(
    proxy: &Proxy,
    (backend, generation, stopper): Started,
    patience: Duration,
) -> anyhow::Result<Started> {
    let table = proxy.observed.tables.current();
    let workers = backend.threads().len();
    let count = backend.profile().sockets.count(workers);
    let listened = lend(proxy, &table, count).and_then(|listening| {
        let listened = backend.listen(listening);
        listened.explain(|error| cannot_start("watching the listening sockets", error))
    });
    let Err(error) = listened else {
        return Ok((backend, generation, stopper));
    };
    let to = proxy.workers.running.adopter();
    let leaving = Leaving::begin(backend, generation, Some(to));
    leaving.wait(patience).await;
    leaving.end(stopper).await;
    Err(error)
}

fn lend(proxy: &Proxy, table: &Table, count: usize) -> anyhow::Result<Vec<Listening>> {
    let lend = |settings: &Arc<ListenerSettings>| {
        let name = &settings.listener.name;
        let lent = proxy.sockets.lend(name, count);
        let sockets = lent
            .explain(|error| cannot_start(&format!("the sockets of [listeners.{name}]"), error))?;
        Ok(Listening {
            settings: settings.clone(),
            sockets,
        })
    };
    table.listeners.iter().map(lend).collect()
}

#[expect(clippy::disallowed_methods, reason = "a switch, not a worker")]
fn now() -> Instant {
    Instant::now()
}
