//! Starting and stopping the cores.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use glommio::{
    GlommioError, Latency, LocalExecutorBuilder, Shares, SharesManager, TaskQueueHandle,
};
use proxy_core::backend::{
    Backend, BindSockets, Evening, Listening, OwnMetrics, Plan, Profile, WORKER_THREAD_PREFIX,
    WorkerThread,
};
use proxy_core::lifeline::Lifeline;
use proxy_core::{Descriptor, Generation, Listener, ListenerSettings, Table, Worker};
use socket2::SockRef;

use crate::balancer::Balancer;
use crate::driver::{self, Driver, Parts};
use crate::epoll::Epoll;
use crate::lane::Lane;
use crate::load::Loads;
use crate::mailbox::{Mailbox, Message};
use crate::metrics::Cells;
use crate::neighbours::Neighbours;
use crate::placement::{Placement, Placer, Shared};
use crate::poller::Poller;
use crate::probe::{Memlock, Unavailable, probe};
use crate::publisher::Publisher;
use crate::readiness::Readiness;
use crate::rebalance::Rebalance;
use crate::starting;
use crate::uring::Uring;

/// Glommio's own preempt timer, which must not fire; lanes watch the time themselves ([`Options::preempt_timer`]).
///
/// Each time that it fires, Glommio 0.9 goes around its rings with seven system calls. Worse, when it fires before the
/// first task queue was chosen (the thread was descheduled in between), `LocalExecutor::run` takes that for
/// "nothing is ready" and parks without end.
const GLOMMIO_PREEMPT_TIMER: Duration = Duration::from_secs(24 * 3600);

/// How the executors are set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Requests that the driver's ring takes before it must submit; a power of two.
    pub ring_depth: u32,
    /// How long a listener may run while others wait; less where a listener of the core wants a lower latency.
    pub preempt_timer: Duration,
    /// How new connections are spread over the cores.
    pub placement: Placement,
    /// How live connections are moved off a hot core.
    pub rebalance: Rebalance,
    /// Where readiness comes from; none: io_uring where the kernel has what it takes, else epoll.
    pub readiness: Option<Readiness>,
}

/// Why the cores did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Glommio can't run here.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Glommio refused to make an executor.
    #[error("worker {worker}: Glommio's executor can't be made: {reason}")]
    Executor {
        /// The worker's index.
        worker: usize,
        /// What Glommio says.
        reason: String,
        /// What the kernel said, where it did.
        error: io::Error,
    },
    /// A thread, a descriptor or a ring can't be had.
    #[error("worker {worker} can't be started: {error}")]
    Io {
        /// The worker's index.
        worker: usize,
        /// What the kernel says.
        error: io::Error,
    },
    /// The system lets no more threads start.
    #[error(
        "the thread of worker {worker} can't be started: {error}; raise the limit of threads (`ulimit -u`, TasksMax= in \
         a systemd unit, `--pids-limit` for Docker), or use fewer `cores`"
    )]
    Thread {
        /// The worker's index.
        worker: usize,
        /// What the kernel says.
        error: io::Error,
    },
    /// There is no memory for a ring, most likely as locked memory is limited.
    #[error("worker {worker} can't have its rings: {memlock}")]
    Memlock {
        /// The worker's index.
        worker: usize,
        /// What is needed.
        memlock: Memlock,
    },
}

impl StartError {
    /// What the kernel said of a descriptor or a ring; none where the error has its own advice.
    pub fn of_kernel(&self) -> Option<&io::Error> {
        match self {
            Self::Executor { error, .. } | Self::Io { error, .. } => Some(error),
            Self::Unavailable(_) | Self::Thread { .. } | Self::Memlock { .. } => None,
        }
    }

    /// With what to do about a lack of memory, where there is a limit of it.
    fn explain(self, workers: usize, options: &Options) -> Self {
        let (worker, kind) = match &self {
            Self::Executor { worker, error, .. } | Self::Io { worker, error } => {
                (*worker, error.kind())
            }
            _ => return self,
        };
        match Memlock::of(workers, options.ring_depth) {
            Some(memlock) if kind == io::ErrorKind::OutOfMemory => {
                Self::Memlock { worker, memlock }
            }
            _ => self,
        }
    }
}

/// Glommio's executors, one a core.
#[derive(Debug)]
pub struct Glommio {
    workers: Vec<JoinHandle<()>>,
    mailboxes: Arc<[Mailbox]>,
    threads: Vec<WorkerThread>,
    generation: Arc<Generation>,
    cells: Cells,
    rebalances: bool,
    /// Where each worker waits for its sockets.
    gates: Vec<mpsc::Sender<Sockets>>,
    /// Ends when the last worker has.
    ended: mpsc::Receiver<Infallible>,
}

/// A worker's sockets, by listener.
struct Sockets {
    listeners: Vec<(Arc<ListenerSettings>, Vec<Descriptor>)>,
    /// Its end says that they are watched, or that they never will be.
    _watched: mpsc::Sender<Infallible>,
}

/// What one core is started with.
struct Seat {
    index: usize,
    cpu: Option<usize>,
    generation: Arc<Generation>,
    listeners: Vec<Arc<Listener>>,
    mailboxes: Arc<[Mailbox]>,
    placing: Arc<Shared>,
    cells: Cells,
    options: Options,
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
        let cells = Cells::new(readiness, plan.cpus.len(), plan.listeners.clone());
        let mailboxes = plan.cpus.iter().map(|_| Mailbox::new());
        let mailboxes: Arc<[Mailbox]> = mailboxes
            .collect::<io::Result<_>>()
            .map_err(|error| StartError::Io { worker: 0, error })?;
        let placing = Arc::new(Shared::new(plan.cpus.len(), plan.listeners.len()));
        let (ends, ended) = mpsc::channel();
        let mut running = Self {
            workers: Vec::new(),
            mailboxes: mailboxes.clone(),
            threads: Vec::new(),
            generation: plan.generation.clone(),
            cells: cells.clone(),
            rebalances: options.rebalance.enabled,
            gates: Vec::new(),
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
                listeners: plan.listeners.clone(),
                mailboxes: mailboxes.clone(),
                placing: placing.clone(),
                cells: cells.clone(),
                options,
            };
            let (sender, started) = mpsc::channel();
            let (gate, sockets) = mpsc::channel();
            let lifeline = plan.deaths.lifeline(index);
            let ends = ends.clone();
            let thread = thread::Builder::new()
                .name(format!("{WORKER_THREAD_PREFIX}{index}"))
                .spawn(move || {
                    let _ends = ends;
                    let _closed = Closing(seat.mailboxes.clone(), index);
                    lifeline.hold(|lifeline| {
                        let begin = Begin {
                            started: sender,
                            lifeline,
                            sockets,
                        };
                        match readiness {
                            Readiness::IoUring => seat.run::<Uring>(begin),
                            Readiness::Epoll => seat.run::<Epoll>(begin),
                        }
                    });
                })
                .map_err(|error| StartError::Thread {
                    worker: index,
                    error,
                })?;
            running.workers.push(thread);
            running.gates.push(gate);
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

    /// Has a core give so many connections of each listener, those that relay, to another one, whatever they cost. It
    /// returns at once; where there is no such core nothing happens.
    pub fn shed(&self, from: usize, to: usize, count: usize) {
        if let Some(mailbox) = self.mailboxes.get(from) {
            mailbox.send(Message::Shed { to, count });
        }
    }

    fn tell(&self, message: impl Fn() -> Message) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(message());
        }
    }

    /// Cuts the connections that were on their way to a core that ended before they arrived.
    fn abandon_mail(&self) {
        // Nobody else writes any cell any more.
        let (slot, cells) = (self.generation.slot(0), self.generation.cells(0));
        for message in self.mailboxes.iter().flat_map(Mailbox::take) {
            if let Message::Lane { order, .. } = message {
                order.abandon(slot, cells, driver::now());
            }
        }
    }
}

impl Drop for Glommio {
    fn drop(&mut self) {
        // Those that still wait for their sockets won't get any.
        self.gates.clear();
        self.tell(|| Message::Stop);
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so on its own.
            let _ = worker.join();
        }
        self.abandon_mail();
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

    fn listen(&mut self, mut listening: Vec<Listening>) {
        let (watching, watched) = mpsc::channel();
        for gate in self.gates.drain(..) {
            let sockets = listening.iter_mut().map(|listening| {
                let binds = listening.sockets.iter_mut();
                let sockets = binds.filter_map(Vec::pop).collect();
                (listening.settings.clone(), sockets)
            });
            // A worker that is gone has reported it.
            let _ = gate.send(Sockets {
                listeners: sockets.collect(),
                _watched: watching.clone(),
            });
        }
        drop(watching);
        // Nothing is ever sent: it ends with the last worker that watches its sockets.
        let _ = watched.recv();
    }

    fn drain(&self) {
        self.tell(|| Message::Drain);
    }

    fn stop(mut self: Box<Self>, patience: Duration) {
        self.gates.clear();
        self.tell(|| Message::Stop);
        // Nothing is ever sent: it ends with the last worker.
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(?patience, "a worker doesn't end; it is left behind");
            self.workers.clear();
        }
        // Dropping waits for the threads, which have ended.
    }
}

/// Closes a core's mailbox when its thread ends, however it does: nobody sends connections there any more.
struct Closing(Arc<[Mailbox]>, usize);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0[self.1].close();
    }
}

/// What a worker's beginning needs.
struct Begin<'a> {
    started: mpsc::Sender<Result<WorkerThread, StartError>>,
    lifeline: &'a Lifeline,
    sockets: mpsc::Receiver<Sockets>,
}

impl Seat {
    /// The life of a worker thread.
    fn run<P: Poller>(self, begin: Begin<'_>) -> Result<(), String> {
        // Whoever receives it waits for it.
        let fail = |error| {
            drop(begin.started.send(Err(error)));
            Ok(())
        };
        let (index, cpu) = (self.index, self.cpu);
        let pin = cpu.map_or(glommio::Placement::Unbound, glommio::Placement::Fixed);
        let builder = LocalExecutorBuilder::new(pin)
            // Buffers for files, which we don't use.
            .io_memory(0)
            .preempt_timer(GLOMMIO_PREEMPT_TIMER);
        let executor = match starting::catch(|| builder.make()) {
            Ok(Ok(executor)) => executor,
            Err(error) => {
                return fail(StartError::Thread {
                    worker: index,
                    error,
                });
            }
            Ok(Err(error)) => {
                let reason = glommio_reason(&error);
                return fail(StartError::Executor {
                    worker: index,
                    reason,
                    error: io::Error::from(error),
                });
            }
        };
        executor.run(async {
            let prepared = match self.prepare::<P>() {
                Ok(prepared) => prepared,
                Err(error) => {
                    return fail(StartError::Io {
                        worker: index,
                        error,
                    });
                }
            };
            begin.lifeline.begin();
            drop(begin.started.send(Ok(WorkerThread {
                tid: rustix::thread::gettid().as_raw_nonzero().get(),
                cpu,
            })));
            // The thread waits, as there is nothing else for it to do yet. Without sockets there is no start.
            let Ok(sockets) = begin.sockets.recv() else {
                return Ok(());
            };
            let driver = prepared
                .listen(sockets)
                .map_err(|error| format!("its listening sockets can't be watched: {error}"))?;
            let ran = driver.run().await;
            ran.map_err(|error| format!("its driver failed: {error}"))
        })
    }

    /// Makes the driver, and a task queue for each listener: all that can be refused for want of something.
    fn prepare<P: Poller>(self) -> io::Result<Prepared<P>> {
        let now = driver::now();
        let loads = || Loads::new(self.generation.clone(), now);
        let placement = self.options.placement;
        let placer = Placer::new(placement, self.index, self.placing, loads());
        let mut worker = Worker::new(self.generation.clone(), self.index, now);
        let quantum = quantum(worker.table(), self.options.preempt_timer);
        let balancer = Balancer::new(self.options.rebalance, self.index, loads(), quantum);
        let mut handles = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            handles.push(task_queue(listener.clone()));
        }
        let publisher = Publisher::new(self.index, self.cells.queues.clone(), handles.clone());
        let driver = Driver::<P>::new(Parts {
            depth: self.options.ring_depth,
            ring: self.cells.ring_of(self.index),
            worker,
            neighbours: Neighbours::new(self.index, self.mailboxes),
            placer,
            balancer,
            publisher,
        })?;
        Ok(Prepared {
            driver,
            handles,
            preempt_timer: self.options.preempt_timer,
            steered_to: self.cpu.filter(|_| placement == Placement::IncomingCpu),
        })
    }
}

/// A worker that only lacks its sockets.
struct Prepared<P: Poller> {
    driver: Rc<Driver<P>>,
    handles: Vec<TaskQueueHandle>,
    preempt_timer: Duration,
    steered_to: Option<usize>,
}

impl<P: Poller> Prepared<P> {
    /// Makes a lane of each listener with its sockets.
    fn listen(self, sockets: Sockets) -> io::Result<Rc<Driver<P>>> {
        for (handle, (settings, sockets)) in self.handles.into_iter().zip(sockets.listeners) {
            if let Some(cpu) = self.steered_to {
                steer(&settings.listener, &sockets, cpu);
            }
            let lane = Lane::new(&self.driver, settings, sockets, self.preempt_timer)?;
            glommio::spawn_local_into(lane.run(), handle)
                .map_err(|error| io::Error::other(glommio_reason(&error)))?
                .detach();
        }
        Ok(self.driver)
    }
}

/// Has the kernel prefer these sockets for what comes in on this CPU.
fn steer(listener: &Listener, sockets: &[Descriptor], cpu: usize) {
    for socket in sockets {
        if let Err(error) = SockRef::from(socket).set_cpu_affinity(cpu) {
            tracing::warn!(listener = listener.name, %error, "SO_INCOMING_CPU is refused; placement is by hash");
        }
    }
}

/// A task queue with the listener's shares, which may change. Its latency is not for Glommio, which would only shorten
/// the preempt timer: see [`quantum`].
fn task_queue(listener: Arc<Listener>) -> TaskQueueHandle {
    let name = listener.name.clone();
    glommio::executor().create_task_queue(
        Shares::Dynamic(Rc::new(SharesOf(listener))),
        Latency::NotImportant,
        &name,
    )
}

/// A listener's shares, which Glommio asks for now and then while the queue is active.
struct SharesOf(Arc<Listener>);

impl SharesManager for SharesOf {
    fn shares(&self) -> usize {
        self.0.share.shares().into()
    }
}

/// How long a lane may run at a time: no longer than any listener wants to wait.
pub(crate) fn quantum(table: &Table, preempt_timer: Duration) -> Duration {
    let latency = table.latency();
    latency.map_or(preempt_timer, |latency| latency.min(preempt_timer))
}

fn glommio_reason(error: &GlommioError<()>) -> String {
    error.to_string()
}
