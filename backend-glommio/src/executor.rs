//! Starting and stopping the cores.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use glommio::{
    GlommioError, Latency, LocalExecutorBuilder, Shares, SharesManager, TaskQueueHandle,
};
use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::plan::{Plan, Running, WORKER_THREAD_PREFIX, WorkerThread};
use proxy_core::{Activity, Descriptor, Listener, Worker};
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
use crate::probe::{Unavailable, probe};
use crate::publisher::Publisher;
use crate::readiness::Readiness;
use crate::rebalance::Rebalance;
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
    },
    /// A thread, a descriptor or a ring can't be had.
    #[error("worker {worker} can't be started: {error}")]
    Io {
        /// The worker's index.
        worker: usize,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}

/// Glommio's executors, one a core.
#[derive(Debug)]
pub struct Glommio {
    workers: Vec<JoinHandle<()>>,
    mailboxes: Arc<[Mailbox]>,
    threads: Vec<WorkerThread>,
    cores: Arc<PerWorker<CoreCells>>,
    listeners: Vec<Arc<Listener>>,
    cells: Cells,
}

/// What one core is started with.
struct Seat {
    index: usize,
    cpu: Option<usize>,
    cores: Arc<PerWorker<CoreCells>>,
    activity: Arc<Activity>,
    lanes: Vec<(Arc<Listener>, Vec<Descriptor>)>,
    mailboxes: Arc<[Mailbox]>,
    placing: Arc<Shared>,
    cells: Cells,
    options: Options,
}

impl Glommio {
    /// Starts an executor for each CPU of the plan, each with sockets of its own.
    ///
    /// # Errors
    /// [`StartError`]; the executors that had started are stopped.
    pub fn start(plan: Plan, options: Options) -> Result<Self, StartError> {
        probe()?;
        let readiness = options.readiness.unwrap_or_else(Readiness::best);
        let cells = Cells::new(readiness, plan.cpus.len(), plan.listeners.len());
        let mailboxes = plan.cpus.iter().map(|_| Mailbox::new());
        let mailboxes: Arc<[Mailbox]> = mailboxes
            .collect::<io::Result<_>>()
            .map_err(|error| StartError::Io { worker: 0, error })?;
        let placing = Arc::new(Shared::new(plan.cpus.len(), plan.listeners.len()));
        let listeners = plan.listeners.iter();
        let mut running = Self {
            workers: Vec::new(),
            mailboxes: mailboxes.clone(),
            threads: Vec::new(),
            cores: plan.cores.clone(),
            listeners: listeners
                .map(|listening| listening.listener.clone())
                .collect(),
            cells: cells.clone(),
        };
        let mut listeners = plan.listeners;
        for (index, &cpu) in plan.cpus.iter().enumerate() {
            let io = |error| StartError::Io {
                worker: index,
                error,
            };
            let seat = Seat {
                index,
                cpu,
                cores: plan.cores.clone(),
                activity: plan.activity.clone(),
                lanes: listeners
                    .iter_mut()
                    .map(|listening| {
                        let sockets = listening.sockets.iter_mut().filter_map(Vec::pop);
                        (listening.listener.clone(), sockets.collect())
                    })
                    .collect(),
                mailboxes: mailboxes.clone(),
                placing: placing.clone(),
                cells: cells.clone(),
                options,
            };
            let (sender, started) = mpsc::channel();
            let thread = thread::Builder::new()
                .name(format!("{WORKER_THREAD_PREFIX}{index}"))
                .spawn(move || {
                    let _closed = Closing(seat.mailboxes.clone(), index);
                    match readiness {
                        Readiness::IoUring => seat.run::<Uring>(&sender),
                        Readiness::Epoll => seat.run::<Epoll>(&sender),
                    }
                })
                .map_err(io)?;
            running.workers.push(thread);
            // A thread that ends without a word panicked, which its output tells.
            let ended = || Err(io(io::Error::other("its thread ended while starting")));
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
        let Some(cells) = self.cores.iter().next() else {
            return;
        };
        for message in self.mailboxes.iter().flat_map(Mailbox::take) {
            if let Message::Lane { lane, order } = message {
                order.abandon(&self.listeners[lane as usize], 0, cells, driver::now());
            }
        }
    }
}

impl Drop for Glommio {
    fn drop(&mut self) {
        self.tell(|| Message::Stop);
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so on its own.
            let _ = worker.join();
        }
        self.abandon_mail();
    }
}

impl Running for Glommio {
    fn threads(&self) -> &[WorkerThread] {
        &self.threads
    }

    fn drain(&self) {
        self.tell(|| Message::Drain);
    }

    fn stop(self: Box<Self>, _patience: Duration) {
        // Dropping does it.
    }
}

/// Closes a core's mailbox when its thread ends, however it does: nobody sends connections there any more.
struct Closing(Arc<[Mailbox]>, usize);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0[self.1].close();
    }
}

impl Seat {
    /// The life of a worker thread.
    fn run<P: Poller>(self, started: &mpsc::Sender<Result<WorkerThread, StartError>>) {
        // Whoever receives it waits for it.
        let tell = |result| drop(started.send(result));
        let (index, cpu) = (self.index, self.cpu);
        let pin = cpu.map_or(glommio::Placement::Unbound, glommio::Placement::Fixed);
        let executor = LocalExecutorBuilder::new(pin)
            // Buffers for files, which we don't use.
            .io_memory(0)
            .preempt_timer(GLOMMIO_PREEMPT_TIMER)
            .make();
        let executor = match executor {
            Ok(executor) => executor,
            Err(error) => {
                return tell(Err(StartError::Executor {
                    worker: index,
                    reason: glommio_reason(&error),
                }));
            }
        };
        executor.run(async {
            let driver = match self.prepare::<P>() {
                Ok(driver) => driver,
                Err(error) => {
                    return tell(Err(StartError::Io {
                        worker: index,
                        error,
                    }));
                }
            };
            tell(Ok(WorkerThread {
                tid: rustix::thread::gettid().as_raw_nonzero().get(),
                cpu,
            }));
            if let Err(error) = driver.run().await {
                tracing::error!(worker = index, %error, "the driver failed; the worker ends");
            }
        });
    }

    /// Makes the driver, and a task queue with a lane for each listener.
    fn prepare<P: Poller>(self) -> io::Result<Rc<Driver<P>>> {
        let now = driver::now();
        let worker = Worker::new(self.index, now, self.cores.clone(), self.activity);
        let loads = || Loads::new(self.cores.clone(), now);
        let placement = self.options.placement;
        let placer = Placer::new(placement, self.index, self.placing, loads());
        let listeners = self.lanes.iter().map(|(listener, _)| listener);
        let quantum = quantum(listeners, self.options.preempt_timer);
        let balancer = Balancer::new(self.options.rebalance, self.index, loads(), quantum);
        let mut handles = Vec::with_capacity(self.lanes.len());
        for (listener, _) in &self.lanes {
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
        if let (Placement::IncomingCpu, Some(cpu)) = (placement, self.cpu) {
            steer(&self.lanes, cpu);
        }
        for ((listener, sockets), handle) in self.lanes.into_iter().zip(handles) {
            let lane = Lane::new(&driver, listener, sockets, quantum)?;
            glommio::spawn_local_into(lane.run(), handle)
                .map_err(|error| io::Error::other(glommio_reason(&error)))?
                .detach();
        }
        Ok(driver)
    }
}

/// Has the kernel prefer these sockets for what comes in on this CPU.
fn steer(lanes: &[(Arc<Listener>, Vec<Descriptor>)], cpu: usize) {
    for (listener, socket) in lanes
        .iter()
        .flat_map(|(listener, sockets)| sockets.iter().map(move |socket| (listener, socket)))
    {
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

/// How long a lane of this core may run at a time: no longer than any listener wants to wait.
fn quantum<'a>(
    listeners: impl Iterator<Item = &'a Arc<Listener>>,
    preempt_timer: Duration,
) -> Duration {
    listeners
        .filter_map(|listener| listener.latency)
        .fold(preempt_timer, Duration::min)
}

fn glommio_reason(error: &GlommioError<()>) -> String {
    error.to_string()
}
