//! The thread that samples the workers' CPU clocks once a second.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::load::{Load, SAMPLE_INTERVAL, Sample};
use super::origin::{self, Origin};
use super::rates::{Rates, Totals};
use super::recent::{Counts, Recent};
use super::{sums, threads};
use crate::advice::{Advice, Adviser, Snapshot};
use crate::findings::Held;
use crate::observed::Observed;
use crate::observed::running::Running;
use proxy_sys::thread_cpu_time;

/// Idle samples in a row after which it sleeps until a worker runs a connection, so that an idle proxy makes no system
/// calls at all. One could be a moment between two messages.
const SAMPLER_IDLE_SAMPLES: u32 = 2;

/// How often a sampler that is to end is woken again; see [`Sampler::drop`].
const STOP_INTERVAL: Duration = Duration::from_millis(1);

/// The sampler's thread, which ends when this is dropped.
pub(crate) struct Sampler {
    /// What it found so far.
    pub(crate) watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

/// Watches the workers' CPU clocks.
pub(crate) struct Watch {
    observed: Arc<Observed>,
    origin: Origin,
    load: Mutex<Load>,
    adviser: Mutex<Adviser>,
    rates: Mutex<Rates>,
    recent: Mutex<Recent>,
    held: Mutex<Held>,
    stopped: AtomicBool,
}

impl Sampler {
    /// Starts sampling.
    ///
    /// # Errors
    /// When there is no thread left for it.
    pub(crate) fn start(observed: Arc<Observed>) -> io::Result<Self> {
        let watch = Arc::new(Watch::new(observed));
        let run = watch.clone();
        let thread = thread::Builder::new()
            .name("corelane-sampler".to_owned())
            .spawn(move || run.run())?;
        Ok(Self {
            watch,
            thread: Some(thread),
        })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.watch.stopped.store(true, SeqCst);
        // It may be about to sleep, and then hears of it only the next time.
        while !thread.is_finished() {
            self.watch.observed.activity.wake();
            thread.thread().unpark();
            thread::park_timeout(STOP_INTERVAL);
        }
        // A thread that panicked has said so on its own.
        let _ = thread.join();
    }
}

impl Watch {
    /// No sample yet.
    pub(crate) fn new(observed: Arc<Observed>) -> Self {
        let running = observed.running();
        Self {
            load: Mutex::new(Load::new(running.threads.len())),
            adviser: Mutex::new(adviser(&observed, &running)),
            rates: Mutex::default(),
            recent: Mutex::default(),
            held: Mutex::default(),
            observed,
            origin: Origin::now(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Whether there are CPUs that no worker has.
    pub(crate) fn has_spare_cpus(&self) -> bool {
        has_spare_cpus(&self.observed.running())
    }

    /// The load as of now. The lock is to be held for moments; workers never wait for it.
    pub(crate) fn load(&self) -> MutexGuard<'_, Load> {
        let mut load = self.lock();
        if load.is_stale(self.uptime()) {
            load.rest_until(self.read_clocks());
        }
        load
    }

    /// What the load of the last minutes calls for.
    pub(crate) fn advice(&self) -> Vec<Advice> {
        let resting = self.load().is_resting();
        let mut adviser = self.lock_adviser();
        if resting {
            adviser.on_rest(self.uptime());
        }
        adviser.advice()
    }

    /// What the counters gained between the last two samples. As for [`Watch::load`], for moments.
    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the workers are watched, which is since the start.
    pub(crate) fn uptime(&self) -> Duration {
        origin::now() - self.origin.instant
    }

    /// What all of its times count from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// What clients met with lately, as of the last [`Watch::count_recent`].
    pub(crate) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found lately. Taken after the lock of what is recent, never before.
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what clients met with. Returns when that was.
    pub(crate) fn count_recent(&self) -> Duration {
        // Read under the lock, so that no look is older than the one before.
        let mut recent = self.recent();
        let at = self.uptime();
        recent.on_sample(Counts::read(&self.observed.view()), at);
        at
    }

    fn run(&self) {
        while !self.stopped.load(SeqCst) {
            self.sample();
            self.wait();
        }
    }

    /// Takes a sample. When the workers are idle it returns after they woke.
    fn sample(&self) {
        self.count();
        let mut load = self.lock();
        load.push(self.read_clocks());
        self.lock_adviser()
            .on_sample(self.snapshot(), load.recent_utilization());
        if load.idle_samples() < SAMPLER_IDLE_SAMPLES {
            return;
        }
        load.begin_rest();
        drop(load);
        self.rates().rest();
        self.observed.activity.sleep();
        // What came with the wake belongs to the next second.
        self.count();
        self.rates().rest();
        let mut load = self.lock();
        load.rest_until(self.read_clocks());
        load.end_rest();
        self.lock_adviser().on_rest(self.uptime());
    }

    fn count(&self) {
        let totals = Totals::read(&self.observed, self.uptime());
        self.rates().push(totals);
        self.count_recent();
    }

    fn read_clocks(&self) -> Sample {
        let running = self.observed.running();
        let cpu = running
            .threads
            .iter()
            .map(|thread| thread_cpu_time(thread.tid));
        Sample {
            cpu: cpu.collect(),
            polls: self.observed.cores.sum(|cells| cells.polls.get()),
            at: self.uptime(),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let running = self.observed.running();
        let threads = running.threads.iter();
        let workers = 0..running.threads.len();
        let connections = |worker| sums::connections_of(&running, worker);
        Snapshot {
            waited: threads
                .map(|thread| Some(threads::schedstat(thread.tid)?.wait))
                .collect(),
            moves: workers
                .clone()
                .map(|worker| sums::moved_in(&self.observed, worker))
                .sum(),
            connections: workers.map(connections).collect(),
            at: self.uptime(),
        }
    }

    /// Waits for the time of the next sample.
    fn wait(&self) {
        let due = origin::now() + SAMPLE_INTERVAL;
        // It may be woken early, by a worker that believed it asleep.
        while !self.stopped.load(SeqCst) {
            let left = due.saturating_duration_since(origin::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    /// Taken after the load's lock, never before.
    fn lock_adviser(&self) -> MutexGuard<'_, Adviser> {
        self.adviser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The load of the scheduler that runs.
    fn lock(&self) -> MutexGuard<'_, Load> {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let (run, running) = self.observed.runs.current();
        if load.set_run(run, running.threads.len()) {
            *self.lock_adviser() = adviser(&self.observed, &running);
        }
        load
    }
}

fn adviser(observed: &Observed, running: &Running) -> Adviser {
    let evening = running.profile.evening;
    Adviser::new(evening, observed.stealing, has_spare_cpus(running))
}

fn has_spare_cpus(running: &Running) -> bool {
    let cpus = thread::available_parallelism();
    cpus.is_ok_and(|cpus| cpus.get() > running.threads.len())
}

#[cfg(test)]
mod tests {
    use proxy_core::backend::WorkerThread;

    use super::*;
    use crate::{fixture, moment};

    #[test]
    fn it_sleeps_when_workers_do_and_wakes_with_them() {
        let observed = Arc::new(fixture::proxy());
        let running = observed.running();
        // A thread that there is not is idle.
        let gone = WorkerThread {
            tid: i32::MAX >> 4,
            cpu: None,
        };
        observed.switch_to(Running {
            profile: running.profile,
            threads: vec![gone; 2],
            generation: running.generation.clone(),
            own: running.own.clone(),
        });
        let sampler = Sampler::start(observed.clone()).expect("a thread");
        let resting = || {
            thread::park_timeout(Duration::from_millis(10));
            sampler.watch.lock().is_resting()
        };
        assert!((0..1000).any(|_| resting()), "it does not sleep");
        // While it begins to sleep it may not notice.
        let wakes = (0..1000).any(|_| {
            observed.activity.note();
            !resting()
        });
        assert!(wakes, "it does not wake");
        assert!((0..1000).any(|_| resting()), "it does not sleep again");
        // It ends in its sleep too.
        drop(sampler);
    }

    #[test]
    fn the_adviser_sees_what_the_sampler_does() {
        let watch = Watch::new(Arc::new(fixture::proxy()));
        watch.observed.running().generation.cells(0).started.add(1);
        assert_eq!(watch.advice(), []);
        watch.sample();
        let look = watch.snapshot();
        assert_eq!((look.connections, look.moves), (vec![1, 0], 0));
        assert!(look.waited.iter().all(Option::is_some), "{:?}", look.waited);
        assert!(format!("{:?}", watch.lock_adviser()).contains("connections: [1, 0]"));
    }
    #[test]
    fn what_the_adviser_says_is_in_the_state() {
        let watch = Watch::new(Arc::new(fixture::proxy()));
        let state = || moment::state(&watch.observed, &watch, None).advice;
        assert_eq!(state(), [""; 0]);
        for second in 0..=60 {
            let look = Snapshot {
                at: Duration::from_secs(second),
                waited: vec![None; 2],
                moves: 0,
                connections: vec![9, 9],
            };
            watch.lock_adviser().on_sample(look, vec![0.95, 0.93]);
        }
        let wanted = match watch.has_spare_cpus() {
            true => {
                "all 2 cores are over 90 %, for 1 min: give it more CPUs in [runtime] cores, or put a second machine \
                 beside it"
            }
            false => {
                "all 2 cores are over 90 %, for 1 min: it has all CPUs that it may use: give it a larger machine, or put \
                 a second one beside it"
            }
        };
        assert_eq!(state(), [wanted]);
    }
}
