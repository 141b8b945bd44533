//! What the processes before counted, and what this one tells the next.

use std::collections::HashMap;

use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::observed::earlier::{Total, Totals, TotalsOf};

/// How names of families begin that no process tells another one of: of the process itself, and of what has a name, whose
/// own counts go on.
const NOT_TOLD: [&str; 1] = ["process_"];

/// What of these families the next process is to add to its own.
pub(super) fn told(families: &[MetricFamily]) -> Totals {
    let told = families.iter().filter(|family| {
        let name = family.name();
        !NOT_TOLD.iter().any(|prefix| name.starts_with(prefix))
    });
    let totals = told.filter_map(|family| {
        let samples = family.get_metric().iter();
        let samples = samples.filter_map(|metric| {
            let labels = metric.get_label().iter();
            let labels = labels.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
            let total = match family.get_field_type() {
                MetricType::COUNTER => Total::Counter(metric.get_counter().get_value()),
                MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    let buckets = histogram.get_bucket().iter();
                    Total::Histogram {
                        buckets: buckets
                            .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
                            .collect(),
                        count: histogram.get_sample_count(),
                        sum: histogram.get_sample_sum(),
                    }
                }
                _ => return None,
            };
            Some((labels.collect(), total))
        });
        let samples: Vec<_> = samples.collect();
        (!samples.is_empty()).then(|| TotalsOf {
            name: family.name().to_owned(),
            help: family.help().to_owned(),
            samples,
        })
    });
    Totals(totals.collect())
}

/// Adds what was counted before to these families.
pub(super) fn add(earlier: &Totals, families: &mut Vec<MetricFamily>) {
    for before in &earlier.0 {
        let kind = match before.samples.first() {
            Some((_, Total::Counter(_))) => MetricType::COUNTER,
            Some(_) => MetricType::HISTOGRAM,
            None => continue,
        };
        let mut all = families.iter_mut();
        let family = match all.find(|family| family.name() == before.name) {
            Some(family) => family,
            None => {
                let mut family = MetricFamily::default();
                family.set_name(before.name.clone());
                family.set_help(before.help.clone());
                family.set_field_type(kind);
                families.push_mut(family)
            }
        };
        // Another version may count it as something else.
        if family.get_field_type() == kind {
            add_to(family, before);
        }
    }
}

fn add_to(family: &mut MetricFamily, before: &TotalsOf) {
    let mut samples = family.take_metric();
    let places: HashMap<Vec<(String, String)>, usize> = samples
        .iter()
        .enumerate()
        .map(|(place, metric)| {
            let labels = metric.get_label().iter();
            let labels = labels.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
            (labels.collect(), place)
        })
        .collect();
    for (labels, total) in &before.samples {
        let metric = match places.get(labels) {
            Some(&place) => &mut samples[place],
            None => samples.push_mut(new(labels)),
        };
        match total {
            Total::Counter(value) => {
                let mut counter = Counter::default();
                counter.set_value(metric.get_counter().get_value() + value);
                metric.set_counter(counter);
            }
            Total::Histogram {
                buckets,
                count,
                sum,
            } => {
                let now = metric.get_histogram();
                let counts = now.get_bucket().iter();
                let counts = counts.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
                let counts: Vec<_> = counts.collect();
                let is_same = counts
                    .iter()
                    .map(|one| one.0)
                    .eq(buckets.iter().map(|one| one.0));
                if !counts.is_empty() && !is_same {
                    // Another version has other buckets.
                    continue;
                }
                let mut histogram = Histogram::default();
                let added = buckets.iter().enumerate().map(|(place, &(bound, count))| {
                    let now = counts.get(place).map_or(0, |one| one.1);
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(bound);
                    bucket.set_cumulative_count(count + now);
                    bucket
                });
                histogram.set_bucket(added.collect());
                histogram.set_sample_count(now.get_sample_count() + count);
                histogram.set_sample_sum(now.get_sample_sum() + sum);
                metric.set_histogram(histogram);
            }
        }
    }
    family.set_metric(samples);
}

fn new(labels: &[(String, String)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    });
    Metric::from_label(pairs.collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::family::Families;

    fn families(count: u64) -> Families {
        let mut families = Families::default();
        let mut counter = families.counter("a_total", "Things.");
        counter.add_count(&[("core", "0")], count);
        counter.add_count(&[("core", &count.to_string())], 1);
        families.gauge("b", "Comes and goes.").add_count(&[], count);
        let mut process = families.counter("process_x", "Its own.");
        process.add_seconds(&[], Duration::from_secs(count));
        families
    }

    #[test]
    fn counts_go_on_and_gauges_do_not() {
        let told = families(3).totals();
        let bytes = serde_json::to_vec(&told).expect("JSON");
        let earlier = crate::observed::earlier::Earlier::default();
        earlier.set(&bytes).expect("it is what was told");
        let mut now = families(1);
        now.add(&earlier.totals());
        let text = now.encode().expect("every family is in order");
        for line in [
            "a_total{core=\"0\"} 4",
            "a_total{core=\"1\"} 1",
            "a_total{core=\"3\"} 1",
            "b 1",
            "process_x 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        earlier.set(b"nonsense").expect_err("it is none");
    }
}
