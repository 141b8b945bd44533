//! The worker that the current thread is.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use proxy_core::metrics::{CoreCells, PerWorker};
use proxy_core::plan::{WORKER_THREAD_PREFIX, WorkerThread};
use proxy_core::{Activity, Worker};

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// Makes the current thread the worker with this index, pinned to `cpu`.
pub(crate) fn enlist(
    index: usize,
    cpu: Option<usize>,
    cores: Arc<PerWorker<CoreCells>>,
    activity: Arc<Activity>,
) -> WorkerThread {
    let cpu = cpu.filter(|&id| core_affinity::set_for_current(core_affinity::CoreId { id }));
    WORKER.set(Some(Worker::new(index, now(), cores, activity)));
    WorkerThread {
        tid: rustix::thread::gettid().as_raw_nonzero().get(),
        cpu,
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

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where this backend asks the clock"
)]
fn now() -> Instant {
    Instant::now()
}
