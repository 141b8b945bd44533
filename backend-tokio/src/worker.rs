//! The worker that the current thread is.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use proxy_core::backend::{WORKER_THREAD_PREFIX, WorkerThread};
use proxy_core::lifeline::Deaths;
use proxy_core::{Generation, Worker};

use crate::clock::now;
use crate::tasks::Tasks;
use crate::{fate, tasks};

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// What a thread becomes a worker with.
pub(crate) struct Enlisted {
    pub(crate) index: usize,
    pub(crate) cpu: Option<usize>,
    pub(crate) generation: Arc<Generation>,
    pub(crate) deaths: Deaths,
    pub(crate) tasks: Arc<Tasks>,
}

/// Makes the current thread this worker, pinned to its CPU.
pub(crate) fn enlist(enlisted: Enlisted) -> WorkerThread {
    let Enlisted { index, cpu, .. } = enlisted;
    let cpu = cpu.filter(|&id| core_affinity::set_for_current(core_affinity::CoreId { id }));
    WORKER.set(Some(Worker::new(enlisted.generation, index, now())));
    fate::enlist(index, enlisted.deaths);
    tasks::enlist(index, enlisted.tasks);
    WorkerThread {
        tid: rustix::thread::gettid().as_raw_nonzero().get(),
        cpu,
    }
}

/// To be called by the process's panic hook, with what the panic says. Returns whether it is a worker's death, which is
/// reported then.
///
/// Tokio catches a panic of a worker as it does one of a task, and keeps it to itself. Here, on the panicking thread, the
/// two can be told apart: a connection that panics does so while the worker is lent to it.
pub fn on_panic(message: &str) -> bool {
    let lent = WORKER.try_with(|worker| worker.try_borrow_mut().is_err());
    lent == Ok(false) && fate::die(format!("its thread panicked: {message}"))
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
    let name = std::ffi::CString::new(format!("{WORKER_THREAD_PREFIX}{index}"));
    // A name is for people who look; the worker works without it.
    let _ = name.map(|name| rustix::thread::set_name(&name));
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
