//! How busy the cores are, as one of them sees it.

use std::sync::Arc;
use std::time::Instant;

use proxy_core::Generation;

/// The utilization of every core between two samples.
///
/// Each core counts the time that it was busy in a cell of its own, and the others may read it. So nothing has
/// to be published, and a core that sleeps is seen to be idle without being woken.
pub(crate) struct Loads {
    generation: Arc<Generation>,
    sampled_at: Instant,
    /// Busy nanoseconds by core, as of then.
    busy: Vec<u64>,
    utilization: Vec<f64>,
}

impl Loads {
    /// Takes the first sample: nothing is known of utilization before the second.
    pub(crate) fn new(generation: Arc<Generation>, now: Instant) -> Self {
        let workers = 0..generation.workers();
        let busy = |worker| generation.cells(worker).busy_nanoseconds.get();
        Self {
            sampled_at: now,
            busy: workers.clone().map(busy).collect(),
            utilization: workers.map(|_| 0.0).collect(),
            generation,
        }
    }

    /// When the last sample was taken.
    pub(crate) fn sampled_at(&self) -> Instant {
        self.sampled_at
    }

    /// Takes the next sample.
    pub(crate) fn sample(&mut self, now: Instant) {
        let wall = now.saturating_duration_since(self.sampled_at).as_nanos() as f64;
        self.sampled_at = now;
        let cores = self.busy.iter_mut().zip(&mut self.utilization);
        for (worker, (busy, utilization)) in cores.enumerate() {
            let now = self.generation.cells(worker).busy_nanoseconds.get();
            let spent = now.wrapping_sub(std::mem::replace(busy, now)) as f64;
            // A core counts when it has time to, so that a window may have more than its share.
            *utilization = if wall > 0.0 {
                (spent / wall).min(1.0)
            } else {
                0.0
            };
        }
    }

    /// Utilization by core, 0 to 1, between the last two samples.
    pub(crate) fn utilization(&self) -> &[f64] {
        &self.utilization
    }
}
