//! One runtime for all cores: a worker that has nothing to do takes tasks from another.

use std::io;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use proxy_core::Listener;
use proxy_core::backend::{
    Adopter, Backend, BindSockets, Evacuation, Evening, Listening, OwnMetrics, Plan, Profile,
    Pulse, WORKER_THREAD_PREFIX, WorkerThread,
};
use tokio::runtime::{Builder, Runtime, worker_index};

use crate::adopt::Runtimes;
use crate::gates::Gates;
use crate::own::Own;
use crate::pulse::Shared;
use crate::spare::{self, Spare};
use crate::tasks::Tasks;
use crate::worker::{self, Enlisted};
use crate::{SCHEDULER, task, threads};

/// Events that a worker takes from the reactor at once, and tasks that it runs between two looks at the reactor.
///
/// A worker's own queue holds 256 tasks; what doesn't fit goes to the queue that all workers share, which is looked at
/// now and then only. Tokio's defaults (1,024 events, 61 tasks) let the unlucky ones of 1,000 busy connections wait ten
/// times as long as the others. With this, events alone don't overflow it: what is left in the kernel keeps its place.
/// Of the values tried (61, 128, 256, and the shared queue looked at every third time) this one had the lowest p99.
const EVENTS_MAX: usize = 128;

/// How long a start waits for a worker before it wakes another.
const ENLIST_PATIENCE: Duration = Duration::from_millis(20);

/// How long a start waits for all workers before it gives up. Their threads run by then; the machine may be busy.
const ENLIST_MAX: Duration = Duration::from_secs(10);

/// How often a stop looks whether the tasks are gone, where the threads can't be waited for.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Tokio's multi-threaded scheduler.
#[derive(Debug)]
pub struct WorkStealing {
    runtime: Runtime,
    threads: Vec<WorkerThread>,
    gates: Gates,
    tasks: Arc<Tasks>,
}

impl WorkStealing {
    /// Starts a worker for each CPU of the plan. They share one socket a bind address.
    ///
    /// # Errors
    /// When threads or the reactor can't be made.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let (runtime, spare) = build(plan.cpus.len())?;
        let tasks = Tasks::new(plan.cpus.len());
        match enlist(&runtime, &plan, &tasks, spare) {
            Ok(threads) => Ok(Self {
                runtime,
                threads,
                gates: Gates::default(),
                tasks,
            }),
            Err(error) => {
                // Not waited for: those that are missing would be.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }
}

/// A runtime whose threads all exist.
///
/// Tokio panics when the system refuses the first thread and says nothing when it refuses another, which then never
/// runs. So it is asked only after as many threads were had at once.
fn build(workers: usize) -> io::Result<(Runtime, Option<Arc<Spare>>)> {
    let spare = (workers == spare::LONELY).then(Arc::<Spare>::default);
    threads::try_out(workers + usize::from(spare.is_some()))?;
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .thread_name(WORKER_THREAD_PREFIX)
        .max_io_events_per_tick(EVENTS_MAX)
        .event_interval(EVENTS_MAX as u32)
        .enable_io();
    if let Some(spare) = &spare {
        spare.add_to(&mut builder);
    }
    Ok((builder.build()?, spare))
}

/// Runs one task on each worker at the same time, which names, pins and enlists its thread: a worker that waits at the
/// barrier can't take a second one. And the spare thread is there.
fn enlist(
    runtime: &Runtime,
    plan: &Plan,
    tasks: &Arc<Tasks>,
    spare: Option<Arc<Spare>>,
) -> io::Result<Vec<WorkerThread>> {
    let workers = plan.cpus.len();
    if let Some(spare) = &spare {
        let own = seat(plan, tasks, 0, None);
        let take_place = move || _ = worker::enlist(own);
        if !spare.await_start(take_place, ENLIST_MAX) {
            return Err(too_late(workers));
        }
    }
    let barrier = Arc::new(Barrier::new(workers));
    let (sender, enlisted) = mpsc::channel();
    for _ in 0..workers {
        let (barrier, sender) = (barrier.clone(), sender.clone());
        let (plan, tasks, spare) = (plan.clone(), tasks.clone(), spare.clone());
        drop(runtime.spawn(async move {
            barrier.wait();
            let index = worker_index().expect("the task runs on a worker");
            worker::name(index);
            let thread = worker::enlist(seat(&plan, &tasks, index, spare));
            let ticking = task::tick().map(|ticker| drop(tokio::spawn(ticker)));
            // The receiver waits for all of them.
            let _ = sender.send((index, ticking.map(|()| thread)));
        }));
    }
    let mut threads = Vec::with_capacity(workers);
    for _ in 0..ENLIST_MAX.as_millis() / ENLIST_PATIENCE.as_millis() {
        while threads.len() < workers {
            match enlisted.recv_timeout(ENLIST_PATIENCE) {
                Ok((index, Ok(thread))) => threads.push((index, thread)),
                Ok((index, Err(error))) => return Err(worker::not_started(index, error)),
                Err(_) => break,
            }
        }
        if threads.len() == workers {
            threads.sort_by_key(|&(index, _)| index);
            return Ok(threads.into_iter().map(|(_, thread)| thread).collect());
        }
        // A worker may have taken two tasks into its own queue while another looked there for the last time and
        // went to sleep. Any new task wakes that one, and then it steals.
        drop(runtime.spawn(async {}));
    }
    Err(too_late(workers))
}

/// What a thread becomes a worker with.
fn seat(plan: &Plan, tasks: &Arc<Tasks>, index: usize, spare: Option<Arc<Spare>>) -> Enlisted {
    Enlisted {
        index,
        cpu: plan.cpus[index],
        generation: plan.generation.clone(),
        deaths: plan.deaths.clone(),
        tasks: tasks.clone(),
        is_shared: true,
        spare,
    }
}

fn too_late(workers: usize) -> io::Error {
    let words = format!("of {workers} workers, some did not run within {ENLIST_MAX:?}");
    io::Error::new(io::ErrorKind::TimedOut, words)
}

impl Backend for WorkStealing {
    fn profile(&self) -> Profile {
        Profile {
            name: "work-stealing",
            scheduler: SCHEDULER,
            mode: "work-stealing",
            evening: Evening::Steals,
            queues: false,
            sockets: BindSockets::One,
        }
    }

    fn own_metrics(&self) -> Arc<dyn OwnMetrics> {
        let handle = self.runtime.handle().clone();
        Arc::new(Own::Shared(handle, self.threads.len()))
    }

    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn listen(&self, listening: Vec<Listening>) -> io::Result<()> {
        // The listening sockets are watched before this returns.
        let _context = self.runtime.enter();
        for Listening { settings, sockets } in listening {
            for socket in sockets.into_iter().flatten() {
                let gate = self.gates.gate(&settings.listener);
                let accept = task::accept(settings.clone(), socket, gate, |connection| {
                    drop(tokio::spawn(connection));
                })?;
                drop(self.runtime.spawn(accept));
            }
        }
        Ok(())
    }

    fn unlisten(&self, listener: &Arc<Listener>) {
        self.gates.close(listener);
    }

    fn drain(&self) {
        self.gates.close_all();
    }

    fn is_accepting(&self) -> bool {
        !self.gates.are_closed()
    }

    fn forget(&self, listener: &Arc<Listener>) {
        self.gates.close(listener);
    }

    fn run_all(&self) {
        self.tasks.note_change();
        for worker in 0..self.threads.len() {
            drop(self.runtime.spawn(self.tasks.clone().wake(worker)));
        }
    }

    fn evacuate(&self, evacuation: Arc<Evacuation>) {
        self.tasks.begin(evacuation);
        self.run_all();
    }

    fn adopter(&self) -> Arc<dyn Adopter> {
        let handle = self.runtime.handle().clone();
        let spawn = |task| drop(tokio::spawn(task));
        Arc::new(Runtimes::new(std::iter::once(handle), spawn))
    }

    fn pulse(&self) -> Arc<dyn Pulse> {
        Arc::new(Shared(self.runtime.handle().clone(), self.threads.len()))
    }

    fn stop(self: Box<Self>, patience: Duration) {
        if !self.tasks.are_stuck() {
            return self.runtime.shutdown_timeout(patience);
        }
        // A thread that never ends is not waited for, only what the others have to drop.
        self.runtime.shutdown_background();
        let looks = patience.as_millis() / STOP_LOOK_INTERVAL.as_millis();
        for _ in 0..looks {
            if self.tasks.are_over() {
                break;
            }
            thread::park_timeout(STOP_LOOK_INTERVAL);
        }
    }
}
