//! Which servers are down.

use super::finding;
use crate::state::{Finding, Level, State};

/// Servers that are down: their health checks fail or, without any, the last connect did.
pub(super) fn of(state: &State) -> Option<Finding> {
    let mut down = state.servers.iter().filter(|server| !server.up);
    let first = down.next()?;
    let more = down.count();
    let what = match more {
        0 => format!(
            "server {} of upstream {} can't be connected to",
            first.server, first.upstream
        ),
        _ => format!(
            "{} servers can't be connected to, {} of upstream {} is the first",
            more + 1,
            first.server,
            first.upstream
        ),
    };
    let nothing_left = state
        .servers
        .iter()
        .filter(|server| server.upstream == first.upstream)
        .all(|server| !server.up);
    let (level, why) = match (nothing_left, first.checked) {
        (true, true) => (
            Level::Alarm,
            "the health checks of all servers of this upstream fail; they are tried all the same",
        ),
        (true, false) => (
            Level::Alarm,
            "no server of this upstream works: its clients are closed",
        ),
        (false, true) => (
            Level::Warning,
            "its health checks fail; the upstream's other servers get the connections",
        ),
        (false, false) => (
            Level::Warning,
            "the upstream's other servers are tried instead",
        ),
    };
    let remedy = if first.checked {
        "corelane_upstream_health_checks_total tells the reasons"
    } else {
        "corelane_upstream_connect_failures_total tells the reasons"
    };
    Some(finding(level, &what, why, remedy))
}
