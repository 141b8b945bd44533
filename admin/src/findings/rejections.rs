//! Clients that are turned away.

use proxy_core::metrics::Rejection;

use super::{Found, Scene, Subject, finding, unix_seconds};
use crate::recent::Episode;
use proxy_state::{Finding, Level};

/// Listeners that turn clients away, by the reason: of each the one that has turned most away.
pub(super) fn of(scene: &Scene<'_>) -> Vec<Found> {
    Rejection::ALL
        .into_iter()
        .filter_map(|reason| of_reason(scene, reason))
        .collect()
}

fn of_reason(scene: &Scene<'_>, reason: Rejection) -> Option<Found> {
    let listeners = 0..scene.observed.listeners.len();
    let episodes: Vec<_> = listeners
        .filter_map(|listener| Some((listener, scene.recent.rejected(listener, reason)?)))
        .collect();
    let &(worst, episode) = episodes.iter().max_by_key(|(_, episode)| episode.count)?;
    let last = episodes.iter().map(|(_, episode)| episode.last).max()?;
    let (subject, told) = match reason {
        Rejection::MaxConnections => (Subject::Limit, limit(scene, worst, episode)),
        Rejection::Descriptors => (Subject::Descriptors, descriptors(scene, worst, episode)),
    };
    let others = match episodes.len() - 1 {
        0 => String::new(),
        1 => "; so does 1 other listener".to_owned(),
        others => format!("; so do {others} other listeners"),
    };
    let finding = Finding {
        what: format!("{}{others}", told.what),
        since: Some(unix_seconds(scene.utc(episode.since))),
        ..told
    };
    Some(Found {
        subject,
        finding,
        last,
    })
}

fn limit(scene: &Scene<'_>, listener: usize, episode: Episode) -> Finding {
    let listener = &scene.observed.listeners[listener];
    let name = &listener.name;
    let max = listener
        .max_connections()
        .map_or_else(String::new, |max| format!(" ({max})"));
    finding(
        Level::Alarm,
        &format!("listener {name} turns clients away: it has its max_connections{max}"),
        &format!(
            "{} closed at once since {}",
            clients(episode.count),
            scene.clock(scene.utc(episode.since))
        ),
        &format!(
            "raise max_connections in [listeners.{name}], or have idle clients closed sooner (idle_timeout)"
        ),
    )
}

fn descriptors(scene: &Scene<'_>, listener: usize, episode: Episode) -> Finding {
    let name = &scene.observed.listeners[listener].name;
    let times = match episode.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    finding(
        Level::Alarm,
        &format!("listener {name} can't take clients on: there is no descriptor or memory left"),
        &format!(
            "accepting paused {times} since {}; clients wait meanwhile",
            scene.clock(scene.utc(episode.since))
        ),
        "raise `ulimit -n` (LimitNOFILE= of a systemd unit), or set max_connections to less than half of it",
    )
}

fn clients(count: u64) -> String {
    match count {
        1 => "1 client was".to_owned(),
        count => format!("{count} clients were"),
    }
}
