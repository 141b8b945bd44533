//! Starting and stopping the cores.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proxy_core::Generation;
use proxy_core::Listener;
use proxy_core::backend::{
    Adopter, Answers, Asked, Backend, BindSockets, Evacuation, Evening, Listening, OpenSockets,
    OwnMetrics, Plan, Profile, Pulse, WORKER_THREAD_PREFIX, WorkerThread,
};

use crate::adoption::Adoption;
use crate::driver;
use crate::epoll::Epoll;
use crate::mailbox::{Mailbox, Message, Order};
use crate::metrics::Cells;
use crate::options::Options;
use crate::placement::{Placement, Population};
use crate::probe::probe;
use crate::readiness::Readiness;
use crate::seat::Seat;
use crate::start_error::StartError;
use crate::uring::Uring;

/// Glommio's executors, one a core.
#[derive(Debug)]
pub struct Glommio {
    workers: Vec<JoinHandle<()>>,
    mailboxes: Arc<[Mailbox]>,
    threads: Vec<WorkerThread>,
    cells: Cells,
    rebalances: bool,
    placement: Placement,
    open: OpenSockets,
    adoption: Arc<Adoption>,
    /// Ends when the last worker has.
    ended: mpsc::Receiver<Infallible>,
}

impl Glommio {
    /// Starts an executor for each CPU of the plan. Each has sockets of its own.
    ///
    /// # Errors
    /// [`StartError`]; the executors that had started are stopped.
    pub fn start(plan: Plan, options: Options) -> Result<Self, StartError> {
        let workers = plan.cpus.len();
        probe(workers, options.ring_depth)?;
        Self::start_workers(plan, options).map_err(|error| error.explain(workers, &options))
    }

    fn start_workers(plan: Plan, options: Options) -> Result<Self, StartError> {
        let readiness = options.readiness.unwrap_or_else(Readiness::best);
        let cells = Cells::new(readiness, plan.cpus.len());
        let mailboxes = plan.cpus.iter().map(|_| Mailbox::new());
        let mailboxes: Arc<[Mailbox]> = mailboxes
            .collect::<io::Result<_>>()
            .map_err(|error| StartError::Io { worker: 0, error })?;
        let population = Arc::new(Population::new(plan.cpus.len()));
        let (ends, ended) = mpsc::channel();
        let mut running = Self {
            workers: Vec::new(),
            mailboxes: mailboxes.clone(),
            threads: Vec::new(),
            cells: cells.clone(),
            rebalances: options.rebalance.enabled,
            placement: options.placement,
            open: OpenSockets::default(),
            adoption: Arc::new(Adoption::new(mailboxes.clone(), cells.lanes.clone())),
            ended,
        };
        for (index, &cpu) in plan.cpus.iter().enumerate() {
            let io = |error| StartError::Io {
                worker: index,
                error,
            };
            let seat = Seat {
                index,
                cpu,
                generation: plan.generation.clone(),
                mailboxes: mailboxes.clone(),
                population: population.clone(),
                cells: cells.clone(),
                options,
            };
            let (sender, started) = mpsc::channel();
            let lifeline = plan.deaths.lifeline(index);
            let ends = ends.clone();
            let thread = thread::Builder::new()
                .name(format!("{WORKER_THREAD_PREFIX}{index}"))
                .spawn(move || {
                    let _ends = ends;
                    let _closed = Closing {
                        mailboxes: seat.mailboxes.clone(),
                        generation: seat.generation.clone(),
                        index,
                    };
                    lifeline.hold(|lifeline| match readiness {
                        Readiness::IoUring => seat.run::<Uring>(&sender, lifeline),
                        Readiness::Epoll => seat.run::<Epoll>(&sender, lifeline),
                    });
                })
                .map_err(|error| StartError::Thread {
                    worker: index,
                    error,
                })?;
            running.workers.push(thread);
            // A thread that ends without a word panicked, which its output tells.
            let ended = || {
                Err(io(io::Error::other(
                    "its thread panicked while starting, as the log says",
                )))
            };
            running
                .threads
                .push(started.recv().unwrap_or_else(|_| ended())?);
        }
        Ok(running)
    }

    /// What there is to read of it.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Has a core migrate so many connections of each listener, those that relay, to another one, whatever they cost. It
    /// returns at once; where there is no such core nothing happens.
    pub fn shed(&self, from: usize, to: usize, count: usize) {
        if let Some(mailbox) = self.mailboxes.get(from) {
            mailbox.send(Message::Shed { to, count });
        }
    }

    fn send_all(&self, message: impl Fn() -> Message) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(message());
        }
    }
}

impl Drop for Glommio {
    fn drop(&mut self) {
        self.send_all(|| Message::Stop);
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so on its own.
            let _ = worker.join();
        }
    }
}

impl Backend for Glommio {
    fn profile(&self) -> Profile {
        Profile {
            name: "glommio",
            scheduler: "glommio",
            mode: "thread-per-core",
            evening: if self.rebalances {
                Evening::Moves
            } else {
                Evening::CouldMove("set enabled = true in [runtime.glommio.rebalance]")
            },
            queues: true,
            sockets: BindSockets::OneAWorker,
        }
    }

    fn own_metrics(&self) -> Arc<dyn OwnMetrics> {
        Arc::new(self.cells.clone())
    }

    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn steered_to(&self, place: usize) -> Option<usize> {
        let steers = self.placement == Placement::IncomingCpu;
        // As `Listening::by_worker` deals them out.
        let worker = place % self.threads.len();
        self.threads[worker].cpu.filter(|_| steers)
    }

    fn listen(&self, listening: Vec<Listening>) -> io::Result<()> {
        let (watching, watched) = mpsc::channel();
        for listening in listening {
            let settings = listening.settings.clone();
            let lane = self.adoption.lane(&settings.listener);
            let own = listening.by_worker(self.mailboxes.len());
            for (mailbox, sockets) in self.mailboxes.iter().zip(own) {
                let order = Order::Listen {
                    settings: settings.clone(),
                    sockets,
                    watched: watching.clone(),
                    open: self.open.clone(),
                };
                mailbox.send(Message::Lane { lane, order });
            }
        }
        drop(watching);
        // It ends with the last worker that watches its sockets. One that is gone has reported it.
        watched.recv().map_or(Ok(()), Err)
    }

    fn unlisten(&self, listener: &Arc<Listener>) {
        if let Some(lane) = self.cells.lanes.find(listener) {
            self.send_all(|| Message::Lane {
                lane,
                order: Order::Unlisten,
            });
        }
    }

    fn drain(&self) {
        for lane in self.cells.lanes.all() {
            self.unlisten(&lane.listener);
        }
    }

    fn is_accepting(&self) -> bool {
        !self.open.is_empty()
    }

    fn forget(&self, listener: &Arc<Listener>) {
        if let Some(lane) = self.cells.lanes.find(listener) {
            self.send_all(|| Message::Lane {
                lane,
                order: Order::End,
            });
            self.cells.lanes.remove(lane);
        }
    }

    fn run_all(&self) {
        self.send_all(|| Message::RunAll);
    }

    fn move_to(&self, listener: &Arc<Listener>, id: u64, worker: usize) -> bool {
        let lane = self.cells.lanes.find(listener);
        let lane = lane.filter(|_| worker < self.mailboxes.len());
        if let Some(lane) = lane {
            // Only the core that has it knows that.
            self.send_all(|| Message::Lane {
                lane,
                order: Order::MigrateOne { id, to: worker },
            });
        }
        lane.is_some()
    }

    fn evacuate(&self, evacuation: Arc<Evacuation>) {
        self.send_all(|| Message::Evacuate(evacuation.clone()));
    }

    fn adopter(&self) -> Arc<dyn Adopter> {
        self.adoption.clone()
    }

    fn pulse(&self) -> Arc<dyn Pulse> {
        Arc::new(Mailboxes(self.mailboxes.clone()))
    }

    fn stop(mut self: Box<Self>, patience: Duration) {
        self.send_all(|| Message::Stop);
        // Nothing is ever sent: it ends with the last worker.
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(?patience, "a worker doesn't end; it is left behind");
            self.workers.clear();
        }
        // Dropping waits for the threads, which have ended.
    }
}

/// Asks each core by a message.
#[derive(Debug)]
struct Mailboxes(Arc<[Mailbox]>);

impl Pulse for Mailboxes {
    fn ask(&self) -> Box<dyn Asked> {
        let answers = Answers::new(self.0.len());
        for mailbox in self.0.iter() {
            mailbox.send(Message::Answer(answers.clone()));
        }
        Box::new(answers)
    }
}

/// Closes a core's mailbox when its thread ends, however it does: nobody sends connections there any more. Those that were on
/// their way are cut.
struct Closing {
    mailboxes: Arc<[Mailbox]>,
    generation: Arc<Generation>,
    index: usize,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let mailbox = &self.mailboxes[self.index];
        mailbox.close();
        let (slot, cells) = (
            self.generation.slot(self.index),
            self.generation.cells(self.index),
        );
        for message in mailbox.take() {
            if let Message::Lane { order, .. } = message {
                order.abandon(slot, cells, driver::now());
            }
        }
    }
}
