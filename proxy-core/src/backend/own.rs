//! Metrics that only one scheduler has, as data: the scheduler knows their names, and the code that shows them needs to know none.

use std::fmt;
use std::time::Duration;

/// What only one scheduler counts.
pub trait OwnMetrics: fmt::Debug + Send + Sync {
    /// The families, as they are now. A label `core` is a worker's index.
    fn families(&self) -> Vec<OwnFamily>;

    /// How long a worker was busy by its scheduler's own account; none where the worker counts it itself, in
    /// [`CoreCells`](crate::metrics::CoreCells).
    fn busy(&self, worker: usize) -> Option<Duration> {
        let _ = worker;
        None
    }
}

/// A family of metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnFamily {
    /// Its whole name.
    pub name: &'static str,
    /// What it means, in a line.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: OwnKind,
    /// All of its samples; without one the family is not shown.
    pub samples: Vec<OwnSample>,
}

/// What a family's values do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKind {
    /// They only grow.
    Counter,
    /// They come and go.
    Gauge,
}

/// One value of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnSample {
    /// Names and values, in the family's order.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl OwnFamily {
    /// A family of counts that only grow, without samples.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(OwnKind::Counter, name, help)
    }

    /// A family of values that come and go, without samples.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(OwnKind::Gauge, name, help)
    }

    fn new(kind: OwnKind, name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind,
            samples: Vec::new(),
        }
    }

    /// Adds a sample.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|&(name, value)| (name, value.to_owned()));
        self.samples.push(OwnSample {
            labels: labels.collect(),
            value,
        });
    }

    /// Adds the count of a worker.
    pub fn add_of_core(&mut self, worker: usize, count: u64) {
        // Beyond 2^53 the text format has no more digits.
        self.add(&[("core", &worker.to_string())], count as f64);
    }
}
