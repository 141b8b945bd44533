//! Servers that are passed over for a while.

use std::time::Duration;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Upstream;

/// What ejects a server: failures, and for how long.
pub(super) struct Failures {
    pub(super) count: u64,
    pub(super) rest: Duration,
    pub(super) is_backup: bool,
    /// It has no clients, so that it can't fail.
    pub(super) is_down: bool,
    pub(super) from: Origin,
}

impl Failures {
    fn takes_turns(&self) -> bool {
        !self.is_backup && !self.is_down
    }
}

/// nginx's defaults of `max_fails` and `fail_timeout`.
pub(super) const MAX_FAILS: u64 = 1;
pub(super) const FAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// Ejects servers as nginx passes them over: after failed connects, for a while.
pub(super) fn ejection(failures: &[Failures], upstream: &mut Upstream, notes: &mut Notes) {
    // A server that is alone is never passed over.
    if failures.len() < 2 {
        return;
    }
    let Some(first) = failures
        .iter()
        .find(|failing| failing.takes_turns() && failing.count > 0)
    else {
        return;
    };
    for other in failures.iter().filter(|other| other.takes_turns()) {
        if (other.count, other.rest) != (first.count, first.rest) {
            let why = "`max_fails` and `fail_timeout` are those of the upstream here, and another server's are taken";
            notes.lose(&other.from, why);
        }
    }
    let times = first.rest.as_secs();
    let from = first
        .from
        .part(&format!("max_fails={} fail_timeout={times}s", first.count));
    let ejection = upstream.table("ejection", &from);
    ejection.set("consecutive_failures", first.count, &from);
    ejection.set("base", first.rest, &from);
    ejection.set("max", first.rest, &from);
    let all = first
        .from
        .part("nginx counts failed connects only, and may pass over all");
    ejection.set("early", "off", &all);
    ejection.set("slow_factor", 1000_u64, &all);
    ejection.set("largest_share", "100%", &all);
    ejection.set("panic_threshold", "0%", &all);
}
