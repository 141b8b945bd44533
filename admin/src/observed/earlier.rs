//! What the processes before this one counted, where only a process knows it: it is added to what this one counts.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Series that are kept; of more, those that come last are forgotten.
const SERIES_MAX: usize = 20_000;

/// The counters and histograms of processes before.
#[derive(Debug, Default)]
pub struct Earlier(Mutex<Arc<Totals>>);

/// Families of counters and histograms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals(pub(crate) Vec<TotalsOf>);

/// Those of one family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TotalsOf {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<(Vec<(String, String)>, Total)>,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Total {
    Counter(f64),
    Histogram {
        /// The bound of each bucket, in seconds, and how many are at it or below.
        buckets: Vec<(f64, u64)>,
        count: u64,
        sum: f64,
    },
}

impl Earlier {
    /// Takes what the process before has counted, with those before it, in place of what it had said.
    ///
    /// # Errors
    /// When it is no such thing.
    pub fn set(&self, bytes: &[u8]) -> serde_json::Result<()> {
        let mut totals: Totals = serde_json::from_slice(bytes)?;
        let mut room = SERIES_MAX;
        for family in &mut totals.0 {
            family.samples.truncate(room);
            room -= family.samples.len();
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(totals);
        Ok(())
    }

    pub(crate) fn totals(&self) -> Arc<Totals> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
