//! Metrics that only this scheduler has.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::backend::{OwnFamily, OwnMetrics};
use proxy_core::metrics::{ByIndex, Counter};

use crate::cells::{OwnRing, QueueCells, RingCells};
use crate::lanes::Lanes;
use crate::readiness::Readiness;

/// What there is to read of a running proxy.
#[derive(Clone, Debug)]
pub struct Cells {
    /// Where readiness comes from, for every worker.
    pub readiness: Readiness,
    /// Those of each listener's task queues.
    pub(crate) lanes: Arc<Lanes>,
    /// By worker.
    pub rings: Arc<ByIndex<RingCells>>,
}

impl Cells {
    /// Nothing has happened yet.
    pub fn new(readiness: Readiness, workers: usize) -> Self {
        Self {
            readiness,
            lanes: Arc::default(),
            rings: Arc::new(ByIndex::new(workers, RingCells::default)),
        }
    }

    fn of_queues(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn(&QueueCells) -> f64,
    ) -> OwnFamily {
        let mut family = OwnFamily::counter(name, help);
        for lane in self.lanes.all() {
            for (worker, queue) in lane.queues.iter().enumerate() {
                let core = worker.to_string();
                let labels = [("core", &core[..]), ("listener", &lane.listener.name)];
                family.add(&labels, read(queue));
            }
        }
        family
    }

    fn of_rings(
        &self,
        name: &'static str,
        help: &'static str,
        read: fn(&RingCells) -> &Counter,
    ) -> OwnFamily {
        let mut family = OwnFamily::counter(name, help);
        for (worker, ring) in self.rings.iter().enumerate() {
            family.add_of_core(worker, read(ring).get());
        }
        family
    }

    /// What a worker counts its ring's traffic into.
    pub(crate) fn ring_of(&self, worker: usize) -> OwnRing {
        OwnRing::new(self.rings.clone(), worker)
    }
}

impl OwnMetrics for Cells {
    fn families(&self) -> Vec<OwnFamily> {
        let mut shares = OwnFamily::gauge(
            "corelane_glommio_task_queue_shares",
            "CPU shares of the listener's task queue against the others on the same core, 1 to 1000.",
        );
        for lane in self.lanes.all() {
            let value = f64::from(lane.listener.share.shares());
            shares.add(&[("listener", &lane.listener.name)], value);
        }
        let mut info = OwnFamily::gauge(
            "corelane_glommio_poller_info",
            "Always 1. What the workers get readiness from and sleep in: \"io_uring\", or \"epoll\" before Linux 6.1.",
        );
        info.add(&[("poller", self.readiness.name())], 1.0);
        vec![
            self.of_queues(
                "corelane_glommio_task_queue_runtime_seconds_total",
                "Time that the listener's task queue ran on the core, in seconds.",
                |queue| Duration::from_nanos(queue.runtime_nanoseconds.get()).as_secs_f64(),
            ),
            self.of_queues(
                "corelane_glommio_task_queue_selected_total",
                "Times that the scheduler chose the listener's task queue on the core.",
                |queue| queue.selected.get() as f64,
            ),
            shares,
            info,
            self.of_rings(
                "corelane_glommio_ring_enters_total",
                "System calls that the core's worker made into its poller: io_uring_enter, or epoll_wait and epoll_ctl.",
                |ring| &ring.enters,
            ),
            self.of_rings(
                "corelane_glommio_ring_sleeps_total",
                "Those of the system calls that were allowed to sleep, since the worker had nothing to do.",
                |ring| &ring.sleeps,
            ),
            self.of_rings(
                "corelane_glommio_ring_completions_total",
                "Completions, or epoll's events, that the core's worker took.",
                |ring| &ring.completions,
            ),
            self.of_rings(
                "corelane_glommio_ring_overflows_total",
                "System calls before which the kernel had more completions than the ring has room for; never under epoll.",
                |ring| &ring.overflows,
            ),
            self.of_rings(
                "corelane_glommio_ring_rearms_total",
                "Watches that the kernel ended by itself and that were begun again; never under epoll.",
                |ring| &ring.rearms,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::Listener;

    use super::*;

    #[test]
    fn cells_are_shown_under_documented_names() {
        let cells = Cells::new(Readiness::IoUring, 2);
        for name in ["redis", "web"] {
            let listener = Arc::new(Listener::new(name.to_owned()));
            cells.lanes.find_or_add(&listener, 2, |_, _, _| {});
        }
        let lane = &cells.lanes.all()[0];
        let queue = lane.queues.of(1);
        queue.runtime_nanoseconds.add(2_000_000);
        queue.selected.add(9);
        let ring = cells.rings.of(1);
        ring.enters.add(20);
        ring.sleeps.add(6);
        ring.completions.add(70);
        ring.overflows.add(3);
        ring.rearms.add(2);
        let families = cells.families();
        let page = include_str!("../../docs/metrics.md");
        let mut lines = Vec::new();
        for family in &families {
            let ends = [format!("`{}`", family.name), format!("`{}{{", family.name)];
            let has = ends.iter().any(|end| page.contains(end));
            assert!(has, "docs/metrics.md has no {}", family.name);
            for sample in &family.samples {
                let labels = sample.labels.iter();
                let labels: Vec<_> = labels
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                let name = family.name.trim_start_matches("corelane_glommio_");
                lines.push(format!("{name} {} {}", labels.join(" "), sample.value));
            }
        }
        for line in [
            "task_queue_runtime_seconds_total core=1 listener=redis 0.002",
            "task_queue_selected_total core=1 listener=redis 9",
            "task_queue_selected_total core=0 listener=web 0",
            "task_queue_shares listener=web 1000",
            "poller_info poller=io_uring 1",
            "ring_enters_total core=0 0",
            "ring_enters_total core=1 20",
            "ring_sleeps_total core=1 6",
            "ring_completions_total core=1 70",
            "ring_overflows_total core=1 3",
            "ring_rearms_total core=1 2",
        ] {
            assert!(
                lines.iter().any(|found| found == line),
                "no {line} in {lines:?}"
            );
        }
    }
}
