//! The workers that run, those that are ending, and the sums of those that have ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proxy_core::Generation;
use proxy_core::backend::{OwnFamily, OwnKind, OwnMetrics, OwnSample, Profile, WorkerThread};

/// Samples of schedulers that have ended which are kept, for each family. Listeners come and go.
const ENDED_SAMPLES_MAX: usize = 4096;

/// One run of a scheduler.
pub struct Running {
    /// What the scheduler is.
    pub profile: Profile,
    /// By worker.
    pub threads: Vec<WorkerThread>,
    /// What the workers share: where they count, and what is configured.
    pub generation: Arc<Generation>,
    /// What only this scheduler counts.
    pub own: Arc<dyn OwnMetrics>,
}

/// All runs.
pub(crate) struct Runs(Mutex<State>);

struct State {
    running: Arc<Running>,
    /// How many there were before it.
    number: u64,
    /// With their numbers: their connections are leaving.
    leaving: Vec<(u64, Arc<Running>)>,
    /// The most workers that any had.
    workers: usize,
    busy: Vec<Duration>,
    ended: BTreeMap<&'static str, EndedFamily>,
}

/// What a family's samples were at the end of the schedulers that have ended, together.
struct EndedFamily {
    help: &'static str,
    samples: BTreeMap<Vec<(&'static str, String)>, f64>,
}

/// A worker thread that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveThread {
    /// Which run it is of.
    pub(crate) run: u64,
    /// Its index.
    pub(crate) core: usize,
    pub(crate) tid: i32,
}

impl Runs {
    pub(crate) fn new(running: Running) -> Self {
        Self(Mutex::new(State {
            workers: running.threads.len(),
            running: Arc::new(running),
            number: 0,
            leaving: Vec::new(),
            busy: Vec::new(),
            ended: BTreeMap::new(),
        }))
    }

    pub(crate) fn running(&self) -> Arc<Running> {
        self.lock().running.clone()
    }

    /// The one that runs, and how many there were before it.
    pub(crate) fn current(&self) -> (u64, Arc<Running>) {
        let state = self.lock();
        (state.number, state.running.clone())
    }

    pub(crate) fn is_switching(&self) -> bool {
        !self.lock().leaving.is_empty()
    }

    pub(crate) fn workers_ever(&self) -> usize {
        self.lock().workers
    }

    /// Another one runs; that before it is leaving.
    pub(crate) fn switch_to(&self, running: Running) {
        let state = &mut *self.lock();
        state.workers = state.workers.max(running.threads.len());
        let left = std::mem::replace(&mut state.running, Arc::new(running));
        state.leaving.push((state.number, left));
        state.number += 1;
    }

    /// Those that were leaving have ended.
    pub(crate) fn retire(&self) {
        let state = &mut *self.lock();
        for (_, run) in std::mem::take(&mut state.leaving) {
            for worker in 0..run.threads.len() {
                if state.busy.len() <= worker {
                    state.busy.resize(worker + 1, Duration::ZERO);
                }
                state.busy[worker] += run.own.busy(worker).unwrap_or_default();
            }
            let counters = run.own.families().into_iter();
            for family in counters.filter(|family| family.kind == OwnKind::Counter) {
                let ended = state.ended.entry(family.name).or_insert(EndedFamily {
                    help: family.help,
                    samples: BTreeMap::new(),
                });
                for sample in family.samples {
                    let has_room = ended.samples.len() < ENDED_SAMPLES_MAX;
                    if has_room || ended.samples.contains_key(&sample.labels) {
                        *ended.samples.entry(sample.labels).or_default() += sample.value;
                    }
                }
            }
        }
    }

    /// How long the workers of this index were busy, by their schedulers' own account; zero where workers count that.
    pub(crate) fn busy(&self, worker: usize) -> Duration {
        let state = self.lock();
        let ended = state.busy.get(worker).copied().unwrap_or_default();
        let live = state.live().filter_map(|(_, run)| run.own.busy(worker));
        live.sum::<Duration>() + ended
    }

    /// The worker threads that live.
    pub(crate) fn threads(&self) -> Vec<LiveThread> {
        let state = self.lock();
        let threads = state.live().flat_map(|(run, running)| {
            let threads = running.threads.iter().enumerate();
            threads.map(move |(core, thread)| LiveThread {
                run,
                core,
                tid: thread.tid,
            })
        });
        threads.collect()
    }

    /// What only schedulers count: gauges of the one that runs, and counters of all that there were.
    pub(crate) fn own_families(&self) -> Vec<OwnFamily> {
        let state = self.lock();
        let mut families = state.running.own.families();
        let leaving = state.leaving.iter().flat_map(|(_, run)| run.own.families());
        let leaving = leaving.filter(|family| family.kind == OwnKind::Counter);
        let ended = state.ended.iter().map(|(&name, ended)| {
            let mut family = OwnFamily::counter(name, ended.help);
            let samples = ended.samples.iter();
            family.samples = samples
                .map(|(labels, &value)| OwnSample {
                    labels: labels.clone(),
                    value,
                })
                .collect();
            family
        });
        for family in leaving.chain(ended) {
            match families.iter_mut().find(|own| own.name == family.name) {
                Some(own) => add(own, family),
                None => families.push(family),
            }
        }
        families
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn live(&self) -> impl Iterator<Item = (u64, &Running)> {
        let leaving = self.leaving.iter().map(|(number, run)| (*number, &**run));
        leaving.chain(std::iter::once((self.number, &*self.running)))
    }
}

/// Adds the samples of a family to those of another one of its name.
fn add(own: &mut OwnFamily, family: OwnFamily) {
    let mut more: BTreeMap<_, _> = family
        .samples
        .into_iter()
        .map(|sample| (sample.labels, sample.value))
        .collect();
    for sample in &mut own.samples {
        sample.value += more.remove(&sample.labels).unwrap_or_default();
    }
    let left = more.into_iter();
    own.samples
        .extend(left.map(|(labels, value)| OwnSample { labels, value }));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::fixture;

    #[derive(Debug, Default)]
    struct Counts(AtomicU64);

    impl OwnMetrics for Counts {
        fn families(&self) -> Vec<OwnFamily> {
            let count = self.0.load(Relaxed);
            let mut counter = OwnFamily::counter("a_total", "Things.");
            counter.add_of_core(0, count);
            let mut gauge = OwnFamily::gauge("a", "Things now.");
            gauge.add(&[], count as f64);
            vec![counter, gauge]
        }

        fn busy(&self, worker: usize) -> Option<Duration> {
            (worker == 0).then(|| Duration::from_secs(self.0.load(Relaxed)))
        }
    }

    fn of(families: &[OwnFamily], name: &str) -> f64 {
        let family = families.iter().find(|family| family.name == name);
        family.map_or(-1.0, |family| {
            family.samples.iter().map(|one| one.value).sum()
        })
    }

    #[test]
    fn counters_go_on_over_schedulers_and_gauges_are_of_the_one_that_runs() {
        let runs = fixture::proxy().runs;
        let first = Arc::new(Counts::default());
        let run = |own: &Arc<Counts>| {
            let running = runs.running();
            runs.switch_to(Running {
                profile: running.profile,
                threads: running.threads.clone(),
                generation: running.generation.clone(),
                own: own.clone(),
            });
        };
        run(&first);
        first.0.store(7, Relaxed);
        let look = || {
            (
                of(&runs.own_families(), "a_total"),
                of(&runs.own_families(), "a"),
            )
        };
        assert_eq!(look(), (7.0, 7.0));
        let second = Arc::new(Counts::default());
        run(&second);
        // Both count.
        first.0.store(8, Relaxed);
        second.0.store(1, Relaxed);
        assert_eq!(look(), (9.0, 1.0));
        assert_eq!(runs.busy(0), Duration::from_secs(9));
        runs.retire();
        assert_eq!(look(), (9.0, 1.0));
        // One that has ended counts no more, and its threads are gone.
        first.0.store(100, Relaxed);
        assert_eq!((look(), runs.busy(0)), ((9.0, 1.0), Duration::from_secs(9)));
        assert!(runs.threads().iter().all(|thread| thread.run == 2));
        // Another scheduler's totals stay.
        let running = runs.running();
        runs.switch_to(Running {
            own: fixture::proxy().running().own.clone(),
            profile: running.profile,
            threads: running.threads.clone(),
            generation: running.generation.clone(),
        });
        runs.retire();
        assert_eq!(look(), (9.0, -1.0));
        assert_eq!(of(&runs.own_families(), "corelane_own_total"), 14.0);
    }
}
