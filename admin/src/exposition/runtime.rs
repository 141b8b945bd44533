//! What runs, and since when.

use std::time::UNIX_EPOCH;

use super::family::Families;
use crate::observed::Observed;

/// The commit that was built: `CORELANE_REVISION` in the build's environment.
const REVISION: &str = match option_env!("CORELANE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Adds the families.
pub(super) fn collect(families: &mut Families, observed: &Observed) {
    families
        .gauge(
            "corelane_build_info",
            "Always 1; the labels tell the version, and the commit that was built.",
        )
        .add(
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                ("revision", REVISION),
            ],
            1.0,
        );
    let running = observed.running();
    let pinned = running.threads.iter().all(|thread| thread.cpu.is_some());
    let labels = [
        ("scheduler", running.profile.scheduler),
        ("mode", running.profile.mode),
        ("pinned", if pinned { "true" } else { "false" }),
    ];
    families
        .gauge(
            "corelane_runtime_info",
            "Always 1; the labels tell which scheduler runs, how, and whether every worker is pinned to a CPU.",
        )
        .add(&labels, 1.0);
    families
        .gauge(
            "corelane_config_info",
            "Always 1; the label is a hash of what the configuration that runs means, all files and variables included.",
        )
        .add(&[("hash", &observed.configuration_hash())], 1.0);
    families
        .gauge(
            "corelane_config_last_reload_success",
            "Whether the configuration was in order when it was last read: 1, or 0 when it was refused.",
        )
        .add(&[], f64::from(u8::from(observed.reloads.succeeded())));
    families
        .counter(
            "corelane_worker_restarts_total",
            "Workers that died and were replaced, while the connections of all others went on.",
        )
        .add_count(&[], observed.restarts.replaced());
    // A clock before 1970 is shown as 1970.
    let configured_at = observed
        .reloads
        .at()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    families
        .gauge(
            "corelane_config_last_reload_timestamp_seconds",
            "When the configuration was last read with success, in seconds since 1970.",
        )
        .add_seconds(&[], configured_at);
}
