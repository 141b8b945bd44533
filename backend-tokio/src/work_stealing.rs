//! One runtime for all cores: a worker that has nothing to do takes tasks from another.

use std::io;
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use proxy_core::plan::{Plan, Running, WORKER_THREAD_PREFIX, WorkerThread};
use tokio::runtime::{Builder, Handle, Runtime, worker_index};
use tokio::sync::watch;

use crate::{task, worker};

/// Events that a worker takes from the reactor at once, and tasks that it runs between two looks at the reactor.
///
/// A worker's own queue holds 256 tasks; what doesn't fit goes to the queue that all workers share, which is looked at
/// now and then only. Tokio's defaults (1,024 events, 61 tasks) let the unlucky ones of 1,000 busy connections wait ten
/// times as long as the others. With this, events alone don't overflow it: what is left in the kernel keeps its place.
/// Of the values tried (61, 128, 256, and the shared queue looked at every third time) this one had the lowest p99.
const EVENTS_MAX: usize = 128;

/// How long a start waits for a worker before it wakes another.
const ENLIST_PATIENCE: Duration = Duration::from_millis(20);

/// Tokio's multi-threaded scheduler.
#[derive(Debug)]
pub struct WorkStealing {
    runtime: Runtime,
    threads: Vec<WorkerThread>,
    draining: watch::Sender<bool>,
}

impl WorkStealing {
    /// Starts a worker for each CPU of the plan, which share one socket a bind address.
    ///
    /// # Errors
    /// When threads or the reactor can't be made.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(plan.cpus.len())
            .thread_name(WORKER_THREAD_PREFIX)
            .max_io_events_per_tick(EVENTS_MAX)
            .event_interval(EVENTS_MAX as u32)
            .enable_all()
            .build()?;
        let threads = enlist(&runtime, &plan);
        let (draining, watched) = watch::channel(false);
        // The listening sockets are watched before this returns.
        let context = runtime.enter();
        for listening in plan.listeners {
            for socket in listening.sockets.into_iter().flatten() {
                let listener = listening.listener.clone();
                let accept = task::accept(listener, socket, watched.clone(), |connection| {
                    drop(tokio::spawn(connection));
                });
                drop(runtime.spawn(accept));
            }
        }
        drop(context);
        Ok(Self {
            runtime,
            threads,
            draining,
        })
    }

    /// The runtime's handle: for its metrics.
    pub fn handle(&self) -> Handle {
        self.runtime.handle().clone()
    }
}

/// Runs one task on each worker at the same time, which names, pins and enlists its thread: a worker that waits at the
/// barrier can't take a second one.
fn enlist(runtime: &Runtime, plan: &Plan) -> Vec<WorkerThread> {
    let workers = plan.cpus.len();
    let barrier = Arc::new(Barrier::new(workers));
    let (sender, enlisted) = mpsc::channel();
    for _ in 0..workers {
        let (barrier, sender) = (barrier.clone(), sender.clone());
        let (cpus, cores) = (plan.cpus.clone(), plan.cores.clone());
        let activity = plan.activity.clone();
        drop(runtime.spawn(async move {
            barrier.wait();
            let index = worker_index().expect("the task runs on a worker");
            worker::name(index);
            let thread = worker::enlist(index, cpus[index], cores, activity);
            // The receiver waits for all of them.
            let _ = sender.send((index, thread));
        }));
    }
    let mut threads = Vec::with_capacity(workers);
    while threads.len() < workers {
        match enlisted.recv_timeout(ENLIST_PATIENCE) {
            Ok(thread) => threads.push(thread),
            // A worker may have taken two tasks into its own queue while another looked there for the last time and
            // went to sleep. Any new task wakes that one, and then it steals.
            Err(_) => drop(runtime.spawn(async {})),
        }
    }
    threads.sort_by_key(|&(index, _)| index);
    threads.into_iter().map(|(_, thread)| thread).collect()
}

impl Running for WorkStealing {
    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn drain(&self) {
        self.draining.send_replace(true);
    }

    fn stop(self: Box<Self>, patience: Duration) {
        self.runtime.shutdown_timeout(patience);
    }
}
