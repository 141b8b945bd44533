//! Another scheduler takes over while connections run.
//!
//! The new one starts beside the old one, in slots of its own, and accepts from the same sockets; only then the old one stops
//! accepting. So no client is refused, and if the new one can't start, the old one goes on as if nothing had been asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_admin::EventKind;
use proxy_config::{Config, OnSwitch, Runtime};
use proxy_core::backend::{Backend, Listening, Plan};
use proxy_core::lifeline::Death;
use proxy_core::{ListenerSettings, ListenerState, Table};
use tokio::time::sleep;

use crate::aside::Stopper;
use crate::proxy::{Proxy, observe};
use crate::start_error::{Explain, cannot_start};
use crate::workers::{Leaving, Left, Next, STOP_PATIENCE, STOP_PATIENCE_AFTER_DEATH, Workers, now};
use crate::{closings, cpus, scheduler};

/// How long connections have to move at least, whatever `drain_timeout` says: it is for those that are to end, and these are to
/// stay. Clients without a server yet have as long.
const MOVE_TIME_MIN: Duration = Duration::from_secs(10);

/// How often it is looked whether connections are left, at first and at last.
const LOOK_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// A scheduler that accepts, beside the one that is to go.
pub(crate) struct Begun {
    next: Next,
    at: Instant,
    /// How long clients may wait for a place that began to under the one before.
    longest_wait: Duration,
}

impl Begun {
    /// The scheduler that takes over.
    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.next.backend
    }
}

/// Starts the scheduler of a new configuration on the sockets of the old one.
///
/// # Errors
/// When it can't run, which is counted: the old one goes on.
pub(crate) async fn begin(proxy: &Proxy, new: &Config) -> anyhow::Result<Begun> {
    let at = now();
    let from = proxy.workers.running.profile().name;
    let started = begin_beside(proxy, new, STOP_PATIENCE).await;
    let next = started.inspect_err(|_| {
        let to = scheduler::name(&new.runtime);
        let switches = &proxy.observed.switches;
        switches.count((from, to), false, now() - at, 0);
    })?;
    Ok(Begun {
        longest_wait: longest_wait(proxy),
        next,
        at,
    })
}

/// Has other workers take the place of those that run, one of which has died, under the same configuration. The connections of
/// those that live go to the new ones.
///
/// # Errors
/// When they can't run. Nothing has changed then.
pub(crate) async fn replace(
    proxy: &mut Proxy,
    config: &Config,
    switching: &mut Option<Switching>,
    death: &Death,
) -> anyhow::Result<()> {
    let at = now();
    let next = begin_beside(proxy, config, STOP_PATIENCE_AFTER_DEATH).await?;
    proxy.sockets.steer(&*next.backend);
    proxy.sockets.set_served();
    let name = next.backend.profile().name;
    let (run, workers) = (proxy.workers.run(), next.backend.threads().len());
    let observed = proxy.observed.clone();
    observed.switch_to(observe(&*next.backend, next.generation.clone()));
    let table = observed.tables.current();
    table.apply_shares(next.backend.profile().queues);
    let patience = time_to_move(&config.runtime);
    proxy.workers.replace(next, true, patience, None);
    observed.restarts.count();
    tracing::info!(scheduler = name, workers, took = ?(now() - at), "new workers have taken over");
    let mut left = Left::default();
    if death.halts_all {
        left = proxy.workers.end_halted(run).await.unwrap_or_default();
    }
    if proxy.workers.is_alone() {
        end_leaving(proxy);
        tracing::info!(moved = left.moved, cut = left.cut, took = ?(now() - at), "the connections of the workers before have moved");
        return Ok(());
    }
    let until = now() + patience;
    match switching {
        Some(switching) => {
            switching.until = switching.until.max(until);
            switching.next_look = LOOK_INTERVALS.0;
            switching.before.moved += left.moved;
            switching.before.cut += left.cut;
        }
        None => {
            *switching = Some(Switching {
                from: name,
                to: name,
                is_replacing: true,
                before: left,
                at,
                patience,
                until,
                closes_at: None,
                next_look: LOOK_INTERVALS.0,
            });
        }
    }
    Ok(())
}

/// Has workers that accept nobody take the place of those that run, and their connections, which have so long to move. False: there
/// can be none, as the log says.
pub(crate) fn start_rest(proxy: &mut Proxy, config: &Config, patience: Duration) -> bool {
    match start(proxy, config, STOP_PATIENCE) {
        Ok(next) => {
            let observed = &proxy.observed;
            observed.switch_to(observe(&*next.backend, next.generation.clone()));
            proxy.workers.replace(next, true, patience, None);
            true
        }
        Err(error) => {
            tracing::error!("no scheduler can be started for connections that stay: {error:#}");
            false
        }
    }
}

/// A worker has died while the proxy drains, or hands over what it has. Where the others of its run get no work any more by that,
/// their connections are sent away, to workers that accept nobody if there is nobody else. False: they can't be.
pub(crate) async fn rescue(
    proxy: &mut Proxy,
    config: &Config,
    death: &Death,
    patience: Duration,
) -> bool {
    proxy.workers.pulses.bury(death);
    if !death.halts_all || !proxy.workers.has(death.run) {
        return true;
    }
    let runs = death.run == proxy.workers.run();
    if runs && !start_rest(proxy, config, patience) {
        return false;
    }
    proxy.workers.end_halted(death.run).await;
    true
}

/// The workers that took the place of others are alone.
fn end_leaving(proxy: &Proxy) {
    proxy.observed.retire();
    proxy.observed.restarts.end();
    proxy_core::descriptors::reserve(proxy.workers.count());
}

/// Workers that accept beside those that there are. If they can't, what they have accepted goes to those.
async fn begin_beside(proxy: &Proxy, new: &Config, stops_within: Duration) -> anyhow::Result<Next> {
    let begun = match start(proxy, new, stops_within) {
        Ok(started) => listen(proxy, started, time_to_move(&new.runtime)).await,
        Err(error) => Err(error),
    };
    begun.inspect_err(|_| {
        // Those of the new one are gone.
        proxy_core::descriptors::reserve(proxy.workers.count());
    })
}

/// A switch whose old scheduler still has connections, or may have.
pub(crate) struct Switching {
    from: &'static str,
    to: &'static str,
    /// It is none that somebody asked for: a worker had died.
    is_replacing: bool,
    /// What came of schedulers that have ended already.
    before: Left,
    at: Instant,
    /// How long they have.
    patience: Duration,
    /// When they are cut.
    until: Instant,
    /// When those see that they end before which have not moved; none: there are none, or they have seen it.
    closes_at: Option<Instant>,
    /// When it is looked next whether they are gone.
    next_look: Duration,
}

/// Has the old scheduler stop accepting, and its connections go over or finish, as `on_switch` says. If the switch is not
/// waited for to the end, the old scheduler is among the proxy's workers until they end.
pub(crate) fn go_over(proxy: &mut Proxy, begun: Begun, runtime: &Runtime) -> Switching {
    let Begun {
        next,
        at,
        longest_wait: before,
    } = begun;
    let (from, to) = (proxy.workers.running.profile(), next.backend.profile());
    let workers = next.backend.threads().len();
    tracing::info!(
        from = from.name,
        to = to.name,
        workers,
        "another scheduler takes over"
    );
    let observed = &proxy.observed;
    let words = format!("{} takes over from {}", to.name, from.name);
    observed
        .events
        .note(EventKind::Scheduler, "the proxy", &words);
    observed.switch_to(observe(&*next.backend, next.generation.clone()));
    observed.tables.current().apply_shares(to.queues);
    let surplus = proxy.sockets.surplus(to.sockets.count(workers));
    if surplus > 0 {
        tracing::info!(
            surplus,
            workers,
            "listening sockets of the scheduler before stay open, as clients may wait there; the workers share them, \
             and a restart begins without them"
        );
    }
    let moves = runtime.on_switch == OnSwitch::Move;
    let Patience { all, last } = if moves {
        Patience::to_move(runtime, before.max(longest_wait(proxy)))
    } else {
        Patience::to_finish(runtime)
    };
    let until = now() + all;
    let closing = closings::before_the_end(until - last, last, runtime);
    let closes_at = closing.map(|closing| closing.begins_at);
    let workers = &mut proxy.workers;
    let pace = if moves { time_to_move(runtime) } else { all };
    workers.replace(next, moves, pace, closing);
    Switching {
        from: from.name,
        to: to.name,
        is_replacing: false,
        before: Left::default(),
        at,
        patience: all,
        until,
        // Those that move would all go at once, instead of at their pace.
        closes_at: closes_at.filter(|_| moves),
        next_look: LOOK_INTERVALS.0,
    }
}

pub(crate) fn time_to_move(runtime: &Runtime) -> Duration {
    runtime.drain_timeout.max(MOVE_TIME_MIN)
}

/// How long each client may wait for a place that waits for one now, or does so soon.
fn longest_wait(proxy: &Proxy) -> Duration {
    let view = proxy.observed.view();
    let waits = view.upstreams.iter().flat_map(|view| {
        let queue = view.pool.as_ref().and_then(|pool| pool.settings().queue);
        let new = queue.map(|queue| queue.timeout);
        new.into_iter().chain([view.upstream.longest_slot_wait()])
    });
    waits.max().unwrap_or_default()
}

/// How long the connections of a scheduler have that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    all: Duration,
    /// The last part of it, in which those are closed that are left, if they are.
    last: Duration,
}

impl Patience {
    /// Those that have a server have gone well before the last part. Clients that wait for a place move when they have one, and
    /// have as long for that as ever.
    fn to_move(runtime: &Runtime, longest_wait: Duration) -> Self {
        let time = time_to_move(runtime);
        Self {
            all: longest_wait + time,
            last: time / 2,
        }
    }

    fn to_finish(runtime: &Runtime) -> Self {
        let all = runtime.drain_timeout;
        Self { all, last: all }
    }
}

impl Switching {
    /// Waits until the old scheduler has no connections, or they have had their time. It may be broken off, and begun again.
    pub(crate) async fn is_over(&mut self, workers: &Workers) {
        while workers.is_left() && now() < self.until {
            if self.closes_at.is_some_and(|at| at <= now()) {
                self.closes_at = None;
                workers.close_left();
            }
            let left = self.until.saturating_duration_since(now());
            sleep(self.next_look.min(left)).await;
            self.next_look = LOOK_INTERVALS.1.min(2 * self.next_look);
        }
    }

    /// Ends the old scheduler. What is left of its connections is reset.
    pub(crate) async fn end(self, proxy: &mut Proxy) {
        let Left { mut moved, mut cut } = proxy.workers.leave().await;
        moved += self.before.moved;
        cut += self.before.cut;
        end_leaving(proxy);
        let observed = &proxy.observed;
        let took = now() - self.at;
        if self.is_replacing {
            tracing::info!(
                moved,
                cut,
                ?took,
                "the connections of the workers before have moved"
            );
            return;
        }
        observed
            .switches
            .count((self.from, self.to), true, took, moved);
        if cut > 0 {
            tracing::warn!(
                cut,
                timeout = ?self.patience,
                "connections of the scheduler before were not over in time: they are reset"
            );
        }
        tracing::info!(to = self.to, moved, ?took, "the switch is over");
        let words = format!(
            "the switch from {} to {} is over: {moved} connections moved, {cut} were cut",
            self.from, self.to
        );
        observed
            .events
            .note(EventKind::Scheduler, "the proxy", &words);
    }

    /// What who has to wait for it is told.
    pub(crate) fn words(&self, workers: &Workers) -> String {
        let Self { from, to, .. } = self;
        let connections = workers.leaving_connections();
        let left = self.until.saturating_duration_since(now()).as_secs();
        if self.is_replacing {
            return format!(
                "workers are replaced as one died, which {connections} connections hold up, for {left} s at most"
            );
        }
        format!(
            "a switch from {from} to {to} runs, which {connections} connections hold up, for {left} s at most"
        )
    }
}

/// Starts the scheduler of a configuration beside the one that runs. It listens to nobody yet, and when it is to end it has
/// `stops_within`.
///
/// # Errors
/// When it can't run.
pub(crate) fn start(proxy: &Proxy, new: &Config, stops_within: Duration) -> anyhow::Result<Next> {
    let stopper = Stopper::start(stops_within);
    let stopper =
        stopper.explain(|error| cannot_start("the thread that ends a scheduler", error))?;
    let cpus = cpus::assign(&new.runtime)?;
    let before = proxy.workers.count();
    let generation = Arc::new(proxy.workers.generation.successor(cpus.len())?);
    // Before any of them accepts.
    proxy_core::descriptors::reserve(before + cpus.len());
    let deaths = proxy.workers.next_deaths();
    let plan = Plan {
        cpus,
        generation: generation.clone(),
        deaths: deaths.clone(),
    };
    Ok(Next {
        backend: scheduler::start(plan, &new.runtime)?,
        generation,
        deaths,
        stopper,
    })
}

/// Has a scheduler accept from the sockets that there are. If it can't, the connections that it has accepted go to the old one.
async fn listen(proxy: &Proxy, next: Next, patience: Duration) -> anyhow::Result<Next> {
    let table = proxy.observed.tables.current();
    let workers = next.backend.threads().len();
    let count = next.backend.profile().sockets.count(workers);
    let listened = lend(proxy, &table, count).and_then(|listening| {
        let listened = next.backend.listen(listening);
        listened.explain(|error| cannot_start("watching the listening sockets", error))
    });
    let Err(error) = listened else {
        return Ok(next);
    };
    let to = proxy.workers.running.adopter();
    let leaving = Leaving::begin(next, Some(to), patience);
    leaving.wait(patience).await;
    leaving.end().await;
    Err(error)
}

fn lend(proxy: &Proxy, table: &Table, count: usize) -> anyhow::Result<Vec<Listening>> {
    let open = table.listeners.iter();
    let open = open.filter(|settings| settings.listener.state() == ListenerState::Open);
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
    open.map(lend).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_place_has_the_whole_time_of_the_queue_over_a_switch() {
        const SECOND: Duration = Duration::from_secs(1);
        let runtime = |drain_timeout: &str| {
            let text = format!(
                "[runtime]\ndrain_timeout = \"{drain_timeout}\"\n[listeners.l]\nbind = \"127.0.0.1:1\"\n\
                 upstream = \"u\"\n[upstreams.u]\nservers = [\"127.0.0.1:2\"]\n"
            );
            let parsed = proxy_config::parse(&text, "test");
            parsed.expect("it is in order").config.runtime
        };
        for (drain_timeout, longest_wait, all) in [
            ("1s", 0, 10),
            ("60s", 0, 60),
            ("1s", 300, 310),
            ("60s", 300, 360),
        ] {
            let wait = longest_wait * SECOND;
            let patience = Patience::to_move(&runtime(drain_timeout), wait);
            assert_eq!(patience.all, all * SECOND);
            // None is closed before it has waited for as long as it may, and has then had time to connect and move.
            assert!(patience.all - patience.last >= wait + MOVE_TIME_MIN / 2);
        }
        let finishes = Patience::to_finish(&runtime("7s"));
        assert_eq!((finishes.all, finishes.last), (7 * SECOND, 7 * SECOND));
    }
}
