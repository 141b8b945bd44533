//! One single-threaded runtime a core: nothing is shared, and nothing moves.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proxy_core::backend::{
    Backend, BindSockets, Evening, Listening, OwnMetrics, Plan, Profile, WORKER_THREAD_PREFIX,
    WorkerThread,
};
use proxy_core::lifeline::{Deaths, Lifeline};
use proxy_core::{Descriptor, Generation, ListenerSettings};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::watch;

use crate::own::Own;
use crate::worker::{self, Enlisted};
use crate::{SCHEDULER, task, threads};

/// Tokio's current-thread scheduler, once a core.
#[derive(Debug)]
pub struct PerCore {
    workers: Vec<(JoinHandle<()>, Handle)>,
    threads: Vec<WorkerThread>,
    /// Where each worker waits for its sockets.
    gates: Vec<mpsc::Sender<Sockets>>,
    draining: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    /// Ends when the last worker has.
    ended: mpsc::Receiver<Infallible>,
}

/// A worker's sockets.
struct Sockets {
    listeners: Vec<(Arc<ListenerSettings>, Descriptor)>,
    /// Its end says that they are watched, or that they never will be.
    watched: mpsc::Sender<Infallible>,
}

/// What one worker is started with.
struct Seat {
    index: usize,
    cpu: Option<usize>,
    generation: Arc<Generation>,
    deaths: Deaths,
    draining: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
}

/// What a worker's beginning needs.
struct Begin<'a> {
    started: mpsc::Sender<io::Result<(WorkerThread, Handle)>>,
    lifeline: &'a Lifeline,
    sockets: mpsc::Receiver<Sockets>,
}

impl PerCore {
    /// Starts a thread with a runtime for each CPU of the plan. Each has sockets of its own.
    ///
    /// # Errors
    /// When a thread or a reactor can't be made.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let (draining, watched) = watch::channel(false);
        let (stopped, until) = watch::channel(false);
        let (ends, ended) = mpsc::channel();
        let mut running = Self {
            workers: Vec::new(),
            threads: Vec::new(),
            gates: Vec::new(),
            draining,
            stopped,
            ended,
        };
        for (index, &cpu) in plan.cpus.iter().enumerate() {
            let seat = Seat {
                index,
                cpu,
                generation: plan.generation.clone(),
                deaths: plan.deaths.clone(),
                draining: watched.clone(),
                stopped: until.clone(),
            };
            let (sender, started) = mpsc::channel();
            let (gate, sockets) = mpsc::channel();
            let ends = ends.clone();
            let thread = thread::Builder::new()
                .name(format!("{WORKER_THREAD_PREFIX}{index}"))
                .spawn(move || {
                    let _ends = ends;
                    seat.deaths.lifeline(index).hold(|lifeline| {
                        let begin = Begin {
                            started: sender,
                            lifeline,
                            sockets,
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
            running.gates.push(gate);
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
            // The thread waits, as there is nothing else for it to do yet. Without sockets there is no start.
            let Ok(sockets) = begin.sockets.recv() else {
                return;
            };
            tokio::task::spawn_local(ticker);
            for (settings, socket) in sockets.listeners {
                let spawn = |connection| drop(tokio::task::spawn_local(connection));
                let draining = self.draining.clone();
                tokio::task::spawn_local(task::accept(settings, socket, draining, spawn));
            }
            drop(sockets.watched);
            // A sender that is gone means the same.
            let _ = self.stopped.wait_for(|&stopped| stopped).await;
        });
    }
}

/// One socket of each bind address.
fn take_one_each(listeners: &mut [Listening]) -> Vec<(Arc<ListenerSettings>, Descriptor)> {
    listeners
        .iter_mut()
        .flat_map(|listening| {
            let settings = &listening.settings;
            let sockets = listening.sockets.iter_mut();
            sockets.filter_map(|sockets| Some((settings.clone(), sockets.pop()?)))
        })
        .collect()
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

    fn listen(&mut self, mut listening: Vec<Listening>) {
        let (watching, watched) = mpsc::channel();
        for gate in self.gates.drain(..) {
            // A worker that is gone has reported it.
            let _ = gate.send(Sockets {
                listeners: take_one_each(&mut listening),
                watched: watching.clone(),
            });
        }
        drop(watching);
        // Nothing is ever sent: it ends with the last worker that watches its sockets.
        let _ = watched.recv();
    }

    fn drain(&self) {
        self.draining.send_replace(true);
    }

    fn stop(mut self: Box<Self>, patience: Duration) {
        self.gates.clear();
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
