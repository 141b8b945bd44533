//! How upgrades went.

use super::family::Families;
use crate::observed::Observed;

/// Adds the family.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    let (succeeded, failed) = observed.upgrades.counts();
    let mut upgrades = families.counter(
        "corelane_upgrades_total",
        "Upgrades to another process, by result: \"success\", or \"failure\" where the new one could not take over and the \
         old one went on.",
    );
    upgrades.add_count(&[("result", "success")], succeeded);
    upgrades.add_count(&[("result", "failure")], failed);
}
