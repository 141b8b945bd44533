//! One single-threaded runtime a core: nothing is shared, and nothing moves.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proxy_core::plan::{Listening, Plan, Running, WORKER_THREAD_PREFIX, WorkerThread};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::watch;

use crate::{task, worker};

/// Tokio's current-thread scheduler, once a core.
#[derive(Debug)]
pub struct PerCore {
    workers: Vec<(JoinHandle<()>, Handle)>,
    threads: Vec<WorkerThread>,
    draining: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
}

impl PerCore {
    /// Starts a thread with a runtime for each CPU of the plan, each with sockets of its own.
    ///
    /// # Errors
    /// When a thread or a reactor can't be made.
    pub fn start(plan: Plan) -> io::Result<Self> {
        let (draining, watched) = watch::channel(false);
        let (stopped, until) = watch::channel(false);
        let mut running = Self {
            workers: Vec::new(),
            threads: Vec::new(),
            draining,
            stopped,
        };
        let mut listeners = plan.listeners;
        for (index, &cpu) in plan.cpus.iter().enumerate() {
            let listening = take_one_each(&mut listeners);
            let (sender, started) = mpsc::channel();
            let (watched, mut until) = (watched.clone(), until.clone());
            let (cores, activity) = (plan.cores.clone(), plan.activity.clone());
            let thread = thread::Builder::new()
                .name(format!("{WORKER_THREAD_PREFIX}{index}"))
                .spawn(move || {
                    let built = Builder::new_current_thread()
                        .enable_all()
                        .build_local(LocalOptions::default());
                    let runtime = match built {
                        Ok(runtime) => runtime,
                        Err(error) => return drop(sender.send(Err(error))),
                    };
                    let thread = worker::enlist(index, cpu, cores, activity);
                    runtime.block_on(async {
                        for (listener, socket) in listening {
                            let spawn = |connection| drop(tokio::task::spawn_local(connection));
                            tokio::task::spawn_local(task::accept(
                                listener,
                                socket,
                                watched.clone(),
                                spawn,
                            ));
                        }
                        // The receiver waits for it.
                        let _ = sender.send(Ok((thread, Handle::current())));
                        // A sender that is gone means the same.
                        let _ = until.wait_for(|&stopped| stopped).await;
                    });
                })?;
            // A thread that ends without a word panicked, which its output tells.
            let ended = || Err(io::Error::other("a worker's thread ended while starting"));
            let (worker, handle) = started.recv().unwrap_or_else(|_| ended())?;
            running.threads.push(worker);
            running.workers.push((thread, handle));
        }
        Ok(running)
    }

    /// The runtimes' handles, by worker: for their metrics.
    pub fn handles(&self) -> Vec<Handle> {
        self.workers
            .iter()
            .map(|(_, handle)| handle.clone())
            .collect()
    }
}

/// One socket of each bind address.
fn take_one_each(
    listeners: &mut [Listening],
) -> Vec<(std::sync::Arc<proxy_core::Listener>, proxy_core::Descriptor)> {
    listeners
        .iter_mut()
        .flat_map(|listening| {
            let listener = &listening.listener;
            let sockets = listening.sockets.iter_mut();
            sockets.filter_map(|sockets| Some((listener.clone(), sockets.pop()?)))
        })
        .collect()
}

impl Running for PerCore {
    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn drain(&self) {
        self.draining.send_replace(true);
    }

    fn stop(self: Box<Self>, _patience: Duration) {
        self.stopped.send_replace(true);
        for (thread, _) in self.workers {
            // A worker that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}
