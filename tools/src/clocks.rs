//! The clock of the clients, and the workers' CPU clocks.

use std::time::{Duration, Instant};

use proxy_sys::thread_cpu_time;

/// The workers' CPU clocks at one moment.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    cpu: Vec<Duration>,
}

impl Reading {
    /// Reads them.
    pub(crate) fn take(threads: &[i32]) -> Self {
        Self {
            at: now(),
            cpu: threads
                .iter()
                .map(|&thread| thread_cpu_time(thread).unwrap_or_default())
                .collect(),
        }
    }

    /// Utilization of each worker since an earlier reading, 0 to 1.
    pub(crate) fn since(&self, earlier: &Self) -> Vec<f64> {
        let wall = (self.at - earlier.at).as_secs_f64().max(1e-9);
        let cpus = self.cpu.iter().zip(&earlier.cpu);
        cpus.map(|(now, then)| (now.saturating_sub(*then).as_secs_f64() / wall).min(1.0))
            .collect()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main thread's and the clients', which are no workers"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the main thread, which is no worker"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
