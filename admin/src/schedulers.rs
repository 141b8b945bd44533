//! What only one of the schedulers has to tell.

use std::sync::Arc;
use std::time::Duration;

use backend_glommio::{Cells, QueueCells, RingCells};
use proxy_core::Listener;
use proxy_core::metrics::{Counter, PerWorker};
use tokio::runtime::{Handle, RuntimeMetrics};

use super::family::Families;
use crate::observed::{Observed, SchedulersOwn};

/// Adds the families of the scheduler that runs.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    match &observed.own {
        SchedulersOwn::Glommio(cells) => {
            queues(families, &cells.queues, &observed.listeners);
            rings(families, cells);
        }
        SchedulersOwn::Tokio(handles) => tokio(families, handles, observed.threads.len()),
    }
}

fn queues(
    families: &mut Families,
    queues: &PerWorker<Box<[QueueCells]>>,
    listeners: &[Arc<Listener>],
) {
    let mut counter = |name: &str, help: &str, read: &dyn Fn(&QueueCells) -> f64| {
        let mut family = families.counter(name, help);
        for (worker, queues) in queues.iter().enumerate() {
            let core = worker.to_string();
            for (listener, queue) in listeners.iter().zip(queues) {
                family.add(
                    &[("core", &core), ("listener", &listener.name)],
                    read(queue),
                );
            }
        }
    };
    counter(
        "corelane_glommio_task_queue_runtime_seconds_total",
        "Time that the listener's task queue ran on the core, in seconds.",
        &|queue| Duration::from_nanos(queue.runtime_nanoseconds.get()).as_secs_f64(),
    );
    counter(
        "corelane_glommio_task_queue_selected_total",
        "Times that the scheduler chose the listener's task queue on the core.",
        &|queue| queue.selected.get() as f64,
    );
    let mut shares = families.gauge(
        "corelane_glommio_task_queue_shares",
        "CPU shares of the listener's task queue against the others on the same core, 1 to 1000.",
    );
    for listener in listeners {
        shares.add(
            &[("listener", &listener.name)],
            f64::from(listener.share.shares()),
        );
    }
}

fn rings(families: &mut Families, cells: &Cells) {
    let mut info = families.gauge(
        "corelane_glommio_poller_info",
        "Always 1. What the workers get readiness from and sleep in: \"io_uring\", or \"epoll\" before Linux 6.1.",
    );
    info.add_count(&[("poller", cells.readiness.name())], 1);
    let mut counter = |name, help, read: fn(&RingCells) -> &Counter| {
        let mut family = families.counter(name, help);
        for (worker, ring) in cells.rings.iter().enumerate() {
            family.add_count(&[("core", &worker.to_string())], read(ring).get());
        }
    };
    counter(
        "corelane_glommio_ring_enters_total",
        "System calls that the core's worker made into its poller: io_uring_enter, or epoll_wait and epoll_ctl.",
        |ring| &ring.enters,
    );
    counter(
        "corelane_glommio_ring_sleeps_total",
        "Those of the system calls that were allowed to sleep, since the worker had nothing to do.",
        |ring| &ring.sleeps,
    );
    counter(
        "corelane_glommio_ring_completions_total",
        "Completions, or epoll's events, that the core's worker took.",
        |ring| &ring.completions,
    );
    counter(
        "corelane_glommio_ring_overflows_total",
        "System calls before which the kernel had more completions than the ring has room for; never under epoll.",
        |ring| &ring.overflows,
    );
    counter(
        "corelane_glommio_ring_rearms_total",
        "Watches that the kernel ended by itself and that were begun again; never under epoll.",
        |ring| &ring.rearms,
    );
}

fn tokio(families: &mut Families, handles: &[Handle], workers: usize) {
    let mut counter = |name, help, read: fn(&RuntimeMetrics, usize) -> u64| {
        let mut family = families.counter(name, help);
        for worker in 0..workers {
            // One runtime for all workers, or one each.
            let (handle, index) = match handles {
                [handle] => (handle, worker),
                _ => match handles.get(worker) {
                    Some(handle) => (handle, 0),
                    None => continue,
                },
            };
            let count = read(&handle.metrics(), index);
            family.add_count(&[("core", &worker.to_string())], count);
        }
    };
    counter(
        "corelane_tokio_park_total",
        "Times that the core's worker found nothing to do and slept.",
        RuntimeMetrics::worker_park_count,
    );
    #[cfg(tokio_unstable)]
    counter(
        "corelane_tokio_steal_total",
        "Tasks that the core's worker stole from other workers.",
        RuntimeMetrics::worker_steal_count,
    );
    let mut sum = |name, help, read: fn(&Handle) -> usize| {
        let total: usize = handles.iter().map(read).sum();
        families.gauge(name, help).add_count(&[], total as u64);
    };
    sum(
        "corelane_tokio_global_queue_depth",
        "Tasks that wait in the queue that all workers share.",
        |handle| handle.metrics().global_queue_depth(),
    );
    sum(
        "corelane_tokio_alive_tasks",
        "Tasks that have not ended: a connection is one, and so is a listener's socket.",
        |handle| handle.metrics().num_alive_tasks(),
    );
}
