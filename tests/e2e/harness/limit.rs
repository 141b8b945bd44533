//! What this process may have.

use rustix::process::{Resource, getrlimit};

/// False, and says why, where fewer than `needed` descriptors may be open.
pub(crate) fn descriptors(needed: u64) -> bool {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => {
            println!(
                "skipped: {limit} descriptors may be open, and {needed} are needed; ulimit -n"
            );
            false
        }
        _ => true,
    }
}
