//! Metric families, as the text encoder takes them.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, Error, Result, TextEncoder};
use proxy_core::metrics::{self, PerWorker};

use super::earlier;
use crate::observed::earlier::Totals;

/// Samples, and bytes of text, after which another thread may have the CPU. A scrape of a thousand servers takes ten
/// milliseconds; a worker whose CPU it shares would have to wait for all of it.
const SAMPLES_A_PIECE: usize = 128;
const BYTES_A_PIECE: usize = 16 * 1024;

/// The families of one scrape, in the order of their making.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

/// A family that samples are being added to.
pub(super) struct Family<'a>(&'a mut MetricFamily);

impl Families {
    /// A family of counts that only grow.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(MetricType::COUNTER, name, help)
    }

    /// A family of values that come and go.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(MetricType::GAUGE, name, help)
    }

    /// A family of durations counted into buckets.
    pub(super) fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(MetricType::HISTOGRAM, name, help)
    }

    fn family(&mut self, kind: MetricType, name: &str, help: &str) -> Family<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Family(self.0.push_mut(family))
    }

    /// What of it the next process is to add to its own.
    pub(super) fn totals(&self) -> Totals {
        earlier::told(&self.0)
    }

    /// Adds what the processes before counted.
    pub(super) fn add(&mut self, before: &Totals) {
        earlier::add(before, &mut self.0);
    }

    /// The text format. A family without samples has no line.
    pub(super) fn encode(self) -> Result<String> {
        let mut text = Text::default();
        for mut family in self.0 {
            if !family.get_metric().is_empty() {
                TextEncoder::new().encode(std::slice::from_ref(&family), &mut text)?;
            }
            // To free them takes as long as to write them.
            for (index, metric) in family.take_metric().into_iter().enumerate() {
                drop(metric);
                give_way_after(index);
            }
        }
        String::from_utf8(text.bytes).map_err(|error| Error::Msg(error.to_string()))
    }
}

/// What is written so far.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    /// Of them, since others could have the CPU.
    piece: usize,
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        self.piece += bytes.len();
        if self.piece >= BYTES_A_PIECE {
            self.piece = 0;
            thread::yield_now();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn give_way_after(index: usize) {
    if index % SAMPLES_A_PIECE == SAMPLES_A_PIECE - 1 {
        thread::yield_now();
    }
}

impl Family<'_> {
    /// Adds a sample of a counter or a gauge.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = labelled(labels);
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        give_way_after(self.0.get_metric().len());
        self.0.mut_metric().push(metric);
    }

    /// Adds a count.
    pub(super) fn add_count(&mut self, labels: &[(&str, &str)], count: u64) {
        // Beyond 2^53 the format itself has no more digits.
        self.add(labels, count as f64);
    }

    /// Adds a time, in seconds.
    pub(super) fn add_seconds(&mut self, labels: &[(&str, &str)], time: Duration) {
        self.add(labels, time.as_secs_f64());
    }

    /// Adds the sum over all workers of the histogram that `read` takes from each.
    pub(super) fn add_histogram<T: Default>(
        &mut self,
        labels: &[(&str, &str)],
        cells: &PerWorker<T>,
        read: impl Fn(&T) -> &metrics::Histogram,
    ) {
        // Before any worker has counted.
        let bounds = read(&T::default()).bounds();
        let mut counts = vec![0; bounds.len() + 1];
        let mut sum = Duration::ZERO;
        for histogram in cells.iter().map(read) {
            for (total, count) in counts.iter_mut().zip(histogram.counts()) {
                *total += count;
            }
            sum += histogram.sum();
        }
        let mut cumulative = 0;
        let buckets = bounds.iter().zip(&counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound.as_secs_f64());
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum.as_secs_f64());
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.0.mut_metric().push(metric);
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|&(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_become_text() {
        let mut families = Families::default();
        let mut counter = families.counter("a_total", "Things.");
        counter.add_count(&[("name", "quote \" and \\")], 3);
        counter.add_seconds(&[("name", "time")], Duration::from_micros(1));
        let _ = families.gauge("empty", "Nothing.");
        let text = families.encode().expect("no family is empty");
        assert_eq!(
            text,
            "# HELP a_total Things.\n\
             # TYPE a_total counter\n\
             a_total{name=\"quote \\\" and \\\\\"} 3\n\
             a_total{name=\"time\"} 0.000001\n"
        );
    }

    #[test]
    fn histograms_are_summed_over_workers_and_cumulative() {
        const BOUNDS: &[Duration] = &[Duration::from_millis(1), Duration::from_secs(10)];
        struct Times(metrics::Histogram);
        impl Default for Times {
            fn default() -> Self {
                Self(metrics::Histogram::new(BOUNDS))
            }
        }
        let cells = PerWorker::<Times>::default();
        let row = metrics::Slots::default().lend(2).expect("there is room");
        let of = |worker| &cells.of(row.slot(worker)).0;
        of(0).observe(Duration::from_millis(1));
        of(1).observe(Duration::from_secs(4));
        of(1).observe(Duration::from_secs(20));
        let mut families = Families::default();
        let mut family = families.histogram("h_seconds", "Times.");
        family.add_histogram(&[("listener", "l")], &cells, |times| &times.0);
        let text = families.encode().expect("no family is empty");
        assert_eq!(
            text,
            "# HELP h_seconds Times.\n\
             # TYPE h_seconds histogram\n\
             h_seconds_bucket{listener=\"l\",le=\"0.001\"} 1\n\
             h_seconds_bucket{listener=\"l\",le=\"10\"} 2\n\
             h_seconds_bucket{listener=\"l\",le=\"+Inf\"} 3\n\
             h_seconds_sum{listener=\"l\"} 24.001\n\
             h_seconds_count{listener=\"l\"} 3\n"
        );
    }
}
