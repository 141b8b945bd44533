//! Which core gets a new connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use proxy_core::metrics::ByIndex;

use crate::lanes;
use crate::load::Loads;

/// How new connections are spread over the cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// The kernel hashes them over the cores' sockets (SO_REUSEPORT), and they stay where they are accepted. Costs
    /// nothing, and is uneven when there are few.
    #[default]
    ReusePort,
    /// Where the least load is to be expected.
    LeastLoaded,
    /// Each core in turn, a listener each.
    RoundRobin,
    /// The core whose CPU the client's packets come in on (SO_INCOMING_CPU). It is the kernel that steers them, since
    /// Linux 6.2; before, and for pinless workers, it is as [`Placement::ReusePort`].
    IncomingCpu,
}

/// How old a sample of the cores' load may be.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// What a connection is expected to add to a core's utilization when nothing is known of any.
const LOAD_UNKNOWN: f64 = 1e-3;

/// What a connection adds beyond its load, so that idle ones are spread evenly too.
const LOAD_IDLE: f64 = 1e-4;

/// Connections that each core has or will get: one counts from the moment that it is placed, or a burst would go to the same
/// core. The cores share it. It is touched when one begins or ends, and never for a message.
#[derive(Debug)]
pub(crate) struct Population(ByIndex<AtomicU64>);

impl Population {
    pub(crate) fn new(cores: usize) -> Self {
        Self(ByIndex::new(cores, AtomicU64::default))
    }
}

/// One core's part in placing.
pub(crate) struct Placer {
    placement: Placement,
    own: usize,
    shared: Arc<Population>,
    loads: Loads,
    /// The population when the load was sampled.
    population: Vec<u64>,
}

impl Placer {
    pub(crate) fn new(
        placement: Placement,
        own: usize,
        shared: Arc<Population>,
        loads: Loads,
    ) -> Self {
        let population = shared.0.iter().map(|count| count.load(Relaxed));
        Self {
            placement,
            own,
            population: population.collect(),
            shared,
            loads,
        }
    }

    /// The core for a connection that `lane` accepted here.
    pub(crate) fn place(&mut self, lane: &lanes::Shared, now: Instant) -> usize {
        let cores = self.population.len();
        match self.placement {
            Placement::ReusePort | Placement::IncomingCpu => self.own,
            Placement::RoundRobin => lane.next_turn(cores),
            Placement::LeastLoaded => {
                self.sample(now);
                let core = self.least_loaded();
                self.on_moved_to(core);
                core
            }
        }
    }

    /// A connection goes to a core.
    pub(crate) fn on_moved_to(&self, core: usize) {
        if self.placement == Placement::LeastLoaded {
            self.shared.0.of(core).fetch_add(1, Relaxed);
        }
    }

    /// A connection of this core's ended, or goes away.
    pub(crate) fn on_left(&self) {
        if self.placement == Placement::LeastLoaded {
            self.shared.0.of(self.own).fetch_sub(1, Relaxed);
        }
    }

    /// A connection that was to go to a core stays here.
    pub(crate) fn on_returned(&self, core: usize) {
        if self.placement == Placement::LeastLoaded {
            self.shared.0.of(core).fetch_sub(1, Relaxed);
            self.shared.0.of(self.own).fetch_add(1, Relaxed);
        }
    }

    fn sample(&mut self, now: Instant) {
        if now.saturating_duration_since(self.loads.sampled_at()) < SAMPLE_INTERVAL {
            return;
        }
        self.loads.sample(now);
        for (then, count) in self.population.iter_mut().zip(self.shared.0.iter()) {
            *then = count.load(Relaxed);
        }
    }

    fn least_loaded(&self) -> usize {
        let counts: Vec<_> = self
            .shared
            .0
            .iter()
            .map(|count| count.load(Relaxed))
            .collect();
        expected(self.loads.utilization(), &self.population, &counts)
            .enumerate()
            // The own core first among equals: that saves a message.
            .min_by(|(a, x), (b, y)| x.total_cmp(y).then((*a != self.own).cmp(&(*b != self.own))))
            .map_or(self.own, |(core, _)| core)
    }
}

/// The load that each core is expected to have, from its `utilization` when it had `then` connections, and the
/// connections that it has `now`.
///
/// The load of the moment alone would not do: it is as old as the last sample, and a burst of connections would all go
/// to the core that was the coolest then.
fn expected<'a>(
    utilization: &'a [f64],
    then: &'a [u64],
    now: &'a [u64],
) -> impl Iterator<Item = f64> + 'a {
    let connections: u64 = then.iter().sum();
    let each = utilization.iter().sum::<f64>() / connections.max(1) as f64;
    let each = each.max(LOAD_UNKNOWN);
    let cores = utilization.iter().zip(then).zip(now);
    cores.map(move |((utilization, then), now)| {
        let new = *now as f64 - *then as f64;
        utilization + new * each + *now as f64 * LOAD_IDLE
    })
}

#[cfg(test)]
mod tests {
    use proxy_core::metrics::Slots;
    use proxy_core::{Generation, Table, Tables};

    use super::*;

    fn coolest(utilization: &[f64], then: &[u64], now: &[u64]) -> usize {
        let expected: Vec<_> = expected(utilization, then, now).collect();
        (0..expected.len())
            .min_by(|&a, &b| expected[a].total_cmp(&expected[b]))
            .unwrap()
    }

    #[test]
    fn idle_connections_are_spread_by_count() {
        assert_eq!(coolest(&[0.0, 0.0], &[5, 4], &[5, 4]), 1);
        assert_eq!(coolest(&[0.0, 0.0], &[0, 0], &[7, 6]), 1);
    }

    #[test]
    fn load_counts_for_more_than_connections() {
        // One elephant on core 0, a hundred idle ones on core 1.
        assert_eq!(coolest(&[0.9, 0.05], &[1, 100], &[1, 100]), 1);
    }

    #[test]
    fn a_burst_does_not_go_to_one_core() {
        let (utilization, then) = ([0.40, 0.30], [40, 30]);
        let mut now = then;
        for _ in 0..100 {
            now[coolest(&utilization, &then, &now)] += 1;
        }
        let gained = [now[0] - then[0], now[1] - then[1]];
        assert!(gained[0] >= 40 && gained[1] > gained[0], "{gained:?}");
    }

    #[test]
    fn turns_are_shared_by_the_cores() {
        let generation = Generation::new(
            3,
            &Slots::default(),
            Arc::default(),
            Arc::default(),
            Arc::new(Tables::new(Table::default())),
        );
        let generation = Arc::new(generation.expect("there is room"));
        let shared = Arc::new(Population::new(3));
        let now = crate::driver::now();
        let placer = |own| {
            Placer::new(
                Placement::RoundRobin,
                own,
                shared.clone(),
                Loads::new(generation.clone(), now),
            )
        };
        let mut placers = [placer(0), placer(1)];
        let listener = proxy_core::Listener::new("l".to_owned());
        let lane = lanes::Shared::new(Arc::new(listener), 3);
        let places: Vec<_> = (0..6)
            .map(|turn| placers[turn % 2].place(&lane, now))
            .collect();
        assert_eq!(places, [0, 1, 2, 0, 1, 2]);
    }
}
