//! What the clients have done since the window began.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is kept; longer ones count as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Three significant figures: a quantile is off by 0.1 % at most.
const FIGURES: u8 = 3;

/// Units of work done, and how long each took.
#[derive(Clone)]
pub struct Tally {
    units: u64,
    /// Connections that broke.
    lost: u64,
    latency_ns: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latency_ns =
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, FIGURES).expect("bounds in order");
        Self {
            units: 0,
            lost: 0,
            latency_ns,
        }
    }

    /// Begins a window. What is lost stays lost.
    pub fn reset(&mut self) {
        self.units = 0;
        self.latency_ns.reset();
    }

    /// Counts work whose duration means nothing.
    pub(crate) fn add(&mut self, units: u64) {
        self.units += units;
    }

    /// Counts one unit and its duration.
    pub fn add_timed(&mut self, duration: Duration) {
        self.units += 1;
        self.latency_ns
            .saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(LATENCY_NS_MAX));
    }

    /// Units since the window began.
    pub fn units(&self) -> u64 {
        self.units
    }

    pub(crate) fn lose(&mut self) {
        self.lost += 1;
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Adds what another one counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.units += other.units;
        self.lost += other.lost;
        // Both have the same bounds.
        let _ = self.latency_ns.add(&other.latency_ns);
    }

    /// p50, p99, p99.9.
    pub fn latency(&self) -> [Duration; 3] {
        [0.5, 0.99, 0.999]
            .map(|quantile| Duration::from_nanos(self.latency_ns.value_at_quantile(quantile)))
    }
}
