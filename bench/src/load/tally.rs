//! What the clients have done since the window began.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest latency told apart; longer ones count as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Three significant figures: a quantile is off by 0.1 % at most.
const FIGURES: u8 = 3;

/// Units of work done, and how long each took.
pub(super) struct Tally {
    units: u64,
    latency_ns: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency_ns =
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, FIGURES).expect("bounds in order");
        Self {
            units: 0,
            latency_ns,
        }
    }

    pub(super) fn reset(&mut self) {
        self.units = 0;
        self.latency_ns.reset();
    }

    /// Counts work whose duration means nothing.
    pub(super) fn add(&mut self, units: u64) {
        self.units += units;
    }

    /// Counts one unit and its duration.
    pub(super) fn add_timed(&mut self, duration: Duration) {
        self.units += 1;
        self.latency_ns
            .saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(LATENCY_NS_MAX));
    }

    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// p50, p99, p99.9.
    pub(super) fn latency(&self) -> [Duration; 3] {
        [0.5, 0.99, 0.999]
            .map(|quantile| Duration::from_nanos(self.latency_ns.value_at_quantile(quantile)))
    }
}
