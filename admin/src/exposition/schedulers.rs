//! Metrics that only one scheduler has.

use proxy_core::backend::OwnKind;

use super::family::Families;
use crate::observed::Observed;

/// Adds its families.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    for own in observed.runs.own_families() {
        let mut family = match own.kind {
            OwnKind::Counter => families.counter(own.name, own.help),
            OwnKind::Gauge => families.gauge(own.name, own.help),
        };
        for sample in own.samples {
            let labels = sample
                .labels
                .iter()
                .map(|(name, value)| (*name, &value[..]));
            family.add(&labels.collect::<Vec<_>>(), sample.value);
        }
    }
}
