//! Clients that are turned away.

use crate::state::{Finding, Level, State};

/// Listeners that turn clients away.
pub(super) fn of(state: &State) -> Option<Finding> {
    let listeners = state.listeners.iter();
    let worst = listeners.max_by(|one, other| one.rejects.total_cmp(&other.rejects))?;
    (worst.rejects > 0.0).then(|| Finding {
        level: Level::Alarm,
        what: format!(
            "listener {} turns away {:.0} connections a second",
            worst.name,
            worst.rejects.max(1.0)
        ),
        why: "it has max_connections, or the process has no descriptor left".to_owned(),
        remedy:
            "corelane_listener_rejected_total tells which; raise max_connections or `ulimit -n`"
                .to_owned(),
    })
}
