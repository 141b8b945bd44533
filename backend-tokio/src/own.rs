//! Metrics that only Tokio has.

use std::time::Duration;

use proxy_core::backend::{OwnFamily, OwnMetrics};
use tokio::runtime::{Handle, RuntimeMetrics};

/// Tokio's own counts of some workers.
#[derive(Debug)]
pub(crate) enum Own {
    /// One runtime for so many workers.
    Shared(Handle, usize),
    /// One runtime a worker.
    OneAWorker(Vec<Handle>),
}

impl Own {
    /// Each worker's runtime, and the worker's index in it.
    fn workers(&self) -> impl Iterator<Item = (&Handle, usize)> {
        let (shared, own) = match self {
            Self::Shared(handle, workers) => (Some((handle, *workers)), &[][..]),
            Self::OneAWorker(handles) => (None, &handles[..]),
        };
        let shared = shared
            .into_iter()
            .flat_map(|(handle, workers)| (0..workers).map(move |index| (handle, index)));
        shared.chain(own.iter().map(|handle| (handle, 0)))
    }

    fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: fn(&RuntimeMetrics, usize) -> u64,
    ) -> OwnFamily {
        let mut family = OwnFamily::counter(name, help);
        for (worker, (handle, index)) in self.workers().enumerate() {
            family.add_of_core(worker, read(&handle.metrics(), index));
        }
        family
    }

    /// A sum over the runtimes.
    fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: fn(&RuntimeMetrics) -> usize,
    ) -> OwnFamily {
        let runtimes = self.workers().filter(|&(_, index)| index == 0);
        let total: usize = runtimes.map(|(handle, _)| read(&handle.metrics())).sum();
        let mut family = OwnFamily::gauge(name, help);
        family.add(&[], total as f64);
        family
    }
}

impl OwnMetrics for Own {
    fn families(&self) -> Vec<OwnFamily> {
        vec![
            self.counter(
                "corelane_tokio_park_total",
                "Times that the core's worker found nothing to do and slept.",
                RuntimeMetrics::worker_park_count,
            ),
            #[cfg(tokio_unstable)]
            self.counter(
                "corelane_tokio_steal_total",
                "Tasks that the core's worker stole from other workers.",
                RuntimeMetrics::worker_steal_count,
            ),
            self.gauge(
                "corelane_tokio_global_queue_depth",
                "Tasks that wait in the queue that all workers share.",
                RuntimeMetrics::global_queue_depth,
            ),
            self.gauge(
                "corelane_tokio_alive_tasks",
                "Tasks that have not ended: a connection is one, and so is a listener's socket.",
                RuntimeMetrics::num_alive_tasks,
            ),
        ]
    }

    fn busy(&self, worker: usize) -> Option<Duration> {
        let (handle, index) = self.workers().nth(worker)?;
        Some(handle.metrics().worker_total_busy_duration(index))
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    /// The pages that people read have every name.
    fn assert_documented(families: &[OwnFamily]) {
        let page = include_str!("../../docs/metrics.md");
        for family in families {
            let ends = [format!("`{}`", family.name), format!("`{}{{", family.name)];
            let has = ends.iter().any(|end| page.contains(end));
            assert!(has, "docs/metrics.md has no {}", family.name);
        }
    }

    #[test]
    fn workers_are_those_of_one_runtime_or_one_each() {
        let shared = Builder::new_multi_thread().worker_threads(2).build();
        let shared = shared.expect("two threads");
        let build = || Builder::new_current_thread().build().expect("no threads");
        let each = [build(), build()];
        let handles = each.iter().map(|runtime| runtime.handle().clone());
        for own in [
            Own::Shared(shared.handle().clone(), 2),
            Own::OneAWorker(handles.collect()),
        ] {
            let families = own.families();
            assert_documented(&families);
            let park = &families[0];
            assert_eq!(park.name, "corelane_tokio_park_total");
            let cores = park.samples.iter().map(|sample| &sample.labels[..]);
            let wanted = [("core", "0".to_owned()), ("core", "1".to_owned())];
            assert!(
                cores.eq(wanted.iter().map(std::slice::from_ref)),
                "{park:?}"
            );
            for gauge in families.iter().filter(|family| family.name.ends_with("s")) {
                assert_eq!(gauge.samples.len(), 1, "{gauge:?}");
            }
            assert!(own.busy(1).is_some() && own.busy(2).is_none());
        }
    }
}
