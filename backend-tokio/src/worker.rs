//! The worker that the current thread is.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::sync::Arc;

use proxy_core::backend::{WORKER_THREAD_PREFIX, WorkerThread};
use proxy_core::lifeline::Deaths;
use proxy_core::{Generation, Worker};

use crate::clock::now;
use crate::fate::{self, Extent, Fate};
use crate::spare::{self, Spare};
use crate::tasks::{self, Tasks};
use crate::threads;

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
    /// The first task that it has run; none where it began outside of any.
    static FIRST_TASK: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What a thread becomes a worker with.
pub(crate) struct Enlisted {
    pub(crate) index: usize,
    pub(crate) cpu: Option<usize>,
    pub(crate) generation: Arc<Generation>,
    pub(crate) deaths: Deaths,
    pub(crate) tasks: Arc<Tasks>,
    /// Other workers have the same reactor and the same queues.
    pub(crate) is_shared: bool,
    /// What takes its place if it is stuck.
    pub(crate) spare: Option<Arc<Spare>>,
}

/// Makes the current thread this worker, pinned to its CPU.
pub(crate) fn enlist(enlisted: Enlisted) -> WorkerThread {
    let Enlisted { index, cpu, .. } = enlisted;
    let cpu = cpu.filter(|&id| core_affinity::set_for_current(core_affinity::CoreId { id }));
    WORKER.set(Some(Worker::new(enlisted.generation, index, now())));
    fate::enlist(Fate {
        index,
        deaths: enlisted.deaths,
        is_shared: enlisted.is_shared,
    });
    tasks::enlist(index, enlisted.tasks);
    enlisted.spare.into_iter().for_each(spare::enlist);
    FIRST_TASK.set(task());
    WorkerThread {
        tid: rustix::thread::gettid().as_raw_nonzero().get(),
        cpu,
    }
}

/// To be called by the process's panic hook, with what the panic says. A worker's death is reported. Returns whether the thread
/// must not unwind.
///
/// Tokio catches a panic of a worker as it does one of a task, and keeps it to itself. Here, on the panicking thread, the
/// two can be told apart: a connection that panics does so while the worker is lent to it. One of a worker that shares its queues
/// with others is not caught in a debug build, and takes those queues with it in any: so the thread stays where it is.
pub fn on_panic(message: &str) -> bool {
    let lent = WORKER.try_with(|worker| worker.try_borrow_mut().is_err());
    if lent != Ok(false) {
        return false;
    }
    let is_task = runs_task();
    let extent = if is_task { Extent::Task } else { Extent::All };
    let stays = !is_task && fate::is_shared();
    if stays {
        // Before anybody hears of it, and acts on it.
        tasks::note_stuck();
        // Others count in its place once the last that had it is gone.
        let _ = WORKER.try_with(RefCell::take);
        spare::note_stuck();
    }
    fate::die(format!("its thread panicked: {message}"), extent);
    stays
}

/// The number of the task that runs, for as long as one does.
///
/// A worker of a runtime of several threads is a task itself, to Tokio, and an older one than all that it runs.
fn task() -> Option<u64> {
    tokio::task::try_id()?.to_string().parse().ok()
}

/// Whether the current thread's worker runs a task.
fn runs_task() -> bool {
    task().is_some_and(|task| Some(task) >= FIRST_TASK.get())
}

/// The error of a worker that can't be started. What the kernel said is its source.
pub(crate) fn not_started(index: usize, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), NotStarted { index, error })
}

#[derive(Debug)]
struct NotStarted {
    index: usize,
    error: io::Error,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} can't be started", self.index)
    }
}

impl std::error::Error for NotStarted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Names the current thread after its worker.
pub(crate) fn name(index: usize) {
    threads::name(&format!("{WORKER_THREAD_PREFIX}{index}"));
}

/// Lends the current thread's worker, with the time of now.
///
/// # Panics
/// On a thread that is no worker, where no task of ours ever runs, and when it is lent already.
pub(crate) fn with<T>(run: impl FnOnce(&mut Worker) -> T) -> T {
    WORKER.with_borrow_mut(|worker| {
        let worker = worker.as_mut().expect("tasks run on worker threads only");
        worker.now = now();
        run(worker)
    })
}

/// Lends the current thread's worker, unless it is lent already or the thread is none.
pub(crate) fn try_with(run: impl FnOnce(&mut Worker)) {
    // A thread that ends has no worker any more.
    let _ = WORKER.try_with(|worker| {
        if let Ok(mut worker) = worker.try_borrow_mut()
            && let Some(worker) = worker.as_mut()
        {
            worker.now = now();
            run(worker);
        }
    });
}
