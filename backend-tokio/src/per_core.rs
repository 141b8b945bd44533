//! One single-threaded runtime a core: nothing is shared, and nothing moves.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proxy_core::Generation;
use proxy_core::Listener;
use proxy_core::backend::{
    Adopter, Backend, BindSockets, Evacuation, Evening, Listening, OwnMetrics, Plan, Profile,
    Pulse, WORKER_THREAD_PREFIX, WorkerThread,
};
use proxy_core::lifeline::{Deaths, Lifeline};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::watch;

use crate::adopt::Runtimes;
use crate::gates::Gates;
use crate::own::Own;
use crate::pulse::Each;
use crate::tasks::Tasks;
use crate::worker::{self, Enlisted};
use crate::{SCHEDULER, task, threads};

/// Tokio's current-thread scheduler, once a core.
#[derive(Debug)]
pub struct PerCore {
    workers: Vec<(JoinHandle<()>, Handle)>,
    threads: Vec<WorkerThread>,
    gates: Gates,
    tasks: Arc<Tasks>,
    stopped: watch::Sender<bool>,
    /// Ends when the last worker has.
    ended: mpsc::Receiver<Infallible>,
}

/// What one worker is started with.
struct Seat {
    index: usize,
    cpu: Option<usize>,
    generation: Arc<Generation>,
    deaths: Deaths,
    tasks: Arc<Tasks>,
    stopped: watch::Receiver<bool>,
}

/// What a worker's beginning needs.
struct Begin<'a> {
    started: mpsc::Sender<io::Result<(WorkerThread, Handle)>>,
    lifeline: &'a Lifeline,
}

impl PerCore {
    /// Starts a thread with a runtime for each CPU of the plan. Each has sockets of its own.
    ///
    /// # Errors
    /// When a thread or a reactor can't be made.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let tasks = Tasks::new(plan.cpus.len());
        let (stopped, until) = watch::channel(false);
        let (ends, ended) = mpsc::channel();
        let mut running = Self {
            workers: Vec::new(),
            threads: Vec::new(),
            gates: Gates::default(),
            tasks: tasks.clone(),
            stopped,
            ended,
        };
        for (index, &cpu) in plan.cpus.iter().enumerate() {
            let seat = Seat {
                index,
                cpu,
                generation: plan.generation.clone(),
                deaths: plan.deaths.clone(),
                tasks: tasks.clone(),
                stopped: until.clone(),
            };
            let (sender, started) = mpsc::channel();
            let ends = ends.clone();
            let thread = thread::Builder::new()
                .name(format!("{WORKER_THREAD_PREFIX}{index}"))
                .spawn(move || {
                    let _ends = ends;
                    seat.deaths.lifeline(index).hold(|lifeline| {
                        let begin = Begin {
                            started: sender,
                            lifeline,
                        };
                        seat.run(begin);
                        Ok(())
                    });
                })
                .map_err(|error| threads::refusal(index, plan.cpus.len(), &error))?;
            // A thread that ends without a word panicked, which its output tells.
            let ended = || {
                Err(io::Error::other(
                    "its thread panicked while starting, as the log says",
                ))
            };
            let (worker, handle) = started
                .recv()
                .unwrap_or_else(|_| ended())
                .map_err(|error| worker::not_started(index, error))?;
            running.threads.push(worker);
            running.workers.push((thread, handle));
        }
        Ok(running)
    }
}

impl Seat {
    /// The life of a worker thread.
    fn run(mut self, begin: Begin<'_>) {
        let built = Builder::new_current_thread()
            .enable_io()
            .build_local(LocalOptions::default());
        let runtime = match built {
            Ok(runtime) => runtime,
            // The receiver waits for it.
            Err(error) => return drop(begin.started.send(Err(error))),
        };
        let thread = worker::enlist(Enlisted {
            index: self.index,
            cpu: self.cpu,
            generation: self.generation,
            deaths: self.deaths,
            tasks: self.tasks,
            is_shared: false,
            spare: None,
        });
        runtime.block_on(async {
            let ticker = match task::tick() {
                Ok(ticker) => ticker,
                // As above.
                Err(error) => return drop(begin.started.send(Err(error))),
            };
            begin.lifeline.begin();
            // As above.
            let _ = begin.started.send(Ok((thread, Handle::current())));
            tokio::task::spawn_local(ticker);
            // A sender that is gone means the same.
            let _ = self.stopped.wait_for(|&stopped| stopped).await;
        });
    }
}

impl Backend for PerCore {
    fn profile(&self) -> Profile {
        Profile {
            name: "per-core",
            scheduler: SCHEDULER,
            mode: "per-core",
            evening: Evening::Nothing,
            queues: false,
            sockets: BindSockets::OneAWorker,
        }
    }

    fn own_metrics(&self) -> Arc<dyn OwnMetrics> {
        let handles = self.workers.iter().map(|(_, handle)| handle.clone());
        Arc::new(Own::OneAWorker(handles.collect()))
    }

    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn listen(&self, listening: Vec<Listening>) -> io::Result<()> {
        for listening in listening {
            let settings = listening.settings.clone();
            let own = listening.by_worker(self.workers.len());
            for ((_, handle), sockets) in self.workers.iter().zip(own) {
                // The listening sockets are watched by this worker before this returns.
                let _context = handle.enter();
                for socket in sockets {
                    let gate = self.gates.gate(&settings.listener);
                    let accept = task::accept(settings.clone(), socket, gate, |connection| {
                        drop(tokio::task::spawn_local(connection));
                    })?;
                    drop(handle.spawn(accept));
                }
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
        for (worker, (_, handle)) in self.workers.iter().enumerate() {
            drop(handle.spawn(self.tasks.clone().wake(worker)));
        }
    }

    fn evacuate(&self, evacuation: Arc<Evacuation>) {
        self.tasks.begin(evacuation);
        self.run_all();
    }

    fn adopter(&self) -> Arc<dyn Adopter> {
        let handles = self.workers.iter().map(|(_, handle)| handle.clone());
        let spawn = |task| drop(tokio::task::spawn_local(task));
        Arc::new(Runtimes::new(handles, spawn))
    }

    fn pulse(&self) -> Arc<dyn Pulse> {
        let handles = self.workers.iter().map(|(_, handle)| handle.clone());
        Arc::new(Each(handles.collect()))
    }

    fn stop(self: Box<Self>, patience: Duration) {
        self.stopped.send_replace(true);
        // Nothing is ever sent: it ends with the last worker.
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(?patience, "a worker doesn't end; it is left behind");
            return;
        }
        for (thread, _) in self.workers {
            // A worker that panicked has reported it.
            let _ = thread.join();
        }
    }
}
