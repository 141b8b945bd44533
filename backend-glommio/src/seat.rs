//! A worker thread: one executor, and what runs in it.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use glommio::{GlommioError, LocalExecutorBuilder};
use proxy_core::backend::WorkerThread;
use proxy_core::lifeline::Lifeline;
use proxy_core::{Generation, Worker};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::balancer::Balancer;
use crate::driver::{self, Driver, Parts};
use crate::lane::Lane;
use crate::load::Loads;
use crate::mailbox::Mailbox;
use crate::metrics::Cells;
use crate::neighbours::Neighbours;
use crate::options::Options;
use crate::placement::{Placer, Population};
use crate::poller::Poller;
use crate::publisher::Publisher;
use crate::start_error::StartError;
use crate::starting;

/// Glommio's own preempt timer, which must not fire; lanes watch the time themselves ([`Options::preempt_timer`]).
///
/// Each time that it fires, Glommio 0.12 goes around its rings, which costs system calls. Worse, when it fires before the
/// first task queue was chosen (the thread was descheduled in between), `LocalExecutor::run` takes that for
/// "nothing is ready" and parks without end.
const GLOMMIO_PREEMPT_TIMER: Duration = Duration::from_secs(24 * 3600);

/// What one core is started with.
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) cpu: Option<usize>,
    pub(crate) generation: Arc<Generation>,
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) population: Arc<Population>,
    pub(crate) cells: Cells,
    pub(crate) options: Options,
}

/// Where a worker says that it has started, or why not.
pub(crate) type Started = mpsc::Sender<Result<WorkerThread, StartError>>;

impl Seat {
    /// The life of a worker thread.
    pub(crate) fn run<P: Poller>(
        self,
        started: &Started,
        lifeline: &Lifeline,
    ) -> Result<(), String> {
        // Whoever receives it waits for it.
        let fail = |error| {
            drop(started.send(Err(error)));
            Ok(())
        };
        let (index, cpu) = (self.index, self.cpu);
        if let Some(cpu) = cpu
            && let Err(error) = pin(cpu)
        {
            return fail(StartError::Pin {
                worker: index,
                cpu,
                error,
            });
        }
        // It stays where its thread is, and so do the threads that it starts. Glommio's own placement asks /sys for the machine's
        // topology first, which not every container has, and panics without it.
        let builder = LocalExecutorBuilder::new(glommio::Placement::Unbound)
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
                let error: GlommioError<()> = error;
                let reason = error.to_string();
                return fail(StartError::Executor {
                    worker: index,
                    reason,
                    error: io::Error::from(error),
                });
            }
        };
        executor.run(async {
            let driver = match self.driver::<P>() {
                Ok(driver) => driver,
                Err(error) => {
                    return fail(StartError::Io {
                        worker: index,
                        error,
                    });
                }
            };
            lifeline.begin();
            drop(started.send(Ok(WorkerThread {
                tid: rustix::thread::gettid().as_raw_nonzero().get(),
                cpu,
            })));
            let ran = driver.run().await;
            ran.map_err(|error| format!("its driver failed: {error}"))
        })
    }

    fn driver<P: Poller>(self) -> io::Result<std::rc::Rc<Driver<P>>> {
        let now = driver::now();
        let loads = || Loads::new(self.generation.clone(), now);
        let Options {
            placement,
            rebalance,
            preempt_timer,
            ..
        } = self.options;
        let parts = Parts {
            depth: self.options.ring_depth,
            ring: self.cells.ring_of(self.index),
            placer: Placer::new(placement, self.index, self.population, loads()),
            balancer: Balancer::new(rebalance, self.index, loads(), preempt_timer),
            worker: Worker::new(self.generation, self.index, now),
            neighbours: Neighbours::new(self.index, self.mailboxes),
            publisher: Publisher::new(self.index),
            preempt_timer,
        };
        Driver::new(parts, Lane::spawn)
    }
}

/// Has this thread, and those that it starts, run on one CPU.
fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(Errno::INVAL.into());
    }
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}
