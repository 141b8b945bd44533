//! Clients that are turned away.

use proxy_core::ListenerView;
use proxy_core::descriptors::Room;
use proxy_core::metrics::Rejection;

use super::found::{Found, Subject, finding, unix_seconds};
use super::scene::Scene;
use super::tense::{Tense, Told};
use crate::sampling::recent::Episode;
use proxy_state::{Finding, Level};

/// Listeners that turn clients away, by the reason: of each the one that has turned most away.
pub(super) fn of(scene: &Scene<'_>) -> Vec<Found> {
    Rejection::ALL
        .into_iter()
        .filter_map(|reason| of_reason(scene, reason))
        .collect()
}

fn of_reason(scene: &Scene<'_>, reason: Rejection) -> Option<Found> {
    let listeners = scene.view.listeners.iter();
    let episodes: Vec<_> = listeners
        .filter_map(|view| Some((view, scene.recent.rejected(view.listener.id, reason)?)))
        .collect();
    let &(worst, episode) = episodes.iter().max_by_key(|(_, episode)| episode.count)?;
    let last = episodes.iter().map(|(_, episode)| episode.last).max()?;
    let subject = match reason {
        // That is how it is meant.
        Rejection::Denied | Rejection::Route | Rejection::NoRoute => return None,
        Rejection::MaxConnections => Subject::Limit,
        Rejection::ServersFull => Subject::ServersFull,
        Rejection::ServersDown => Subject::ServersDown,
        Rejection::QueueTimeout => Subject::QueueTimeout,
        Rejection::ProcessConnections => Subject::ProcessLimit,
        Rejection::SourceConnections => Subject::SourceLimit,
        Rejection::PeerHeaders => Subject::PeerHeaders,
        Rejection::Rate => Subject::Rate,
        Rejection::SourceRate => Subject::SourceRate,
        Rejection::Descriptors => Subject::Descriptors,
    };
    let others = episodes.len() - 1;
    let told = Told::of(|tense| {
        let told = match reason {
            Rejection::MaxConnections => limit(scene, worst, episode, tense),
            Rejection::ProcessConnections
            | Rejection::SourceConnections
            | Rejection::PeerHeaders
            | Rejection::Rate
            | Rejection::SourceRate
            | Rejection::ServersFull
            | Rejection::ServersDown
            | Rejection::QueueTimeout => beyond(scene, worst, episode, tense, reason),
            Rejection::Denied | Rejection::Route | Rejection::NoRoute => Finding::default(),
            Rejection::Descriptors => descriptors(scene, worst, episode, tense),
        };
        Finding {
            what: format!("{}{}", told.what, so_do(others, tense)),
            since: Some(unix_seconds(scene.utc(episode.since))),
            ..told
        }
    });
    Some(Found {
        subject,
        told,
        last,
    })
}

fn so_do(others: usize, tense: Tense) -> String {
    match others {
        0 => String::new(),
        1 => format!("; so {} 1 other listener", tense.choose("does", "did")),
        _ => format!(
            "; so {} {others} other listeners",
            tense.choose("do", "did")
        ),
    }
}

fn limit(scene: &Scene<'_>, listener: &ListenerView, episode: Episode, tense: Tense) -> Finding {
    let name = &listener.listener.name;
    let settings = listener.settings.as_ref();
    let max = settings
        .and_then(|settings| settings.max_connections)
        .map_or_else(String::new, |max| format!(" ({max})"));
    finding(
        Level::Alarm,
        &format!(
            "listener {name} {} clients away: it {} its max_connections{max}",
            tense.choose("turns", "turned"),
            tense.has()
        ),
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

/// A limit other than the listener's own connections.
fn beyond(
    scene: &Scene<'_>,
    listener: &ListenerView,
    episode: Episode,
    tense: Tense,
    reason: Rejection,
) -> Finding {
    let name = &listener.listener.name;
    let has = tense.has();
    let is = tense.is();
    // A source that is beyond its limit is no fault of the proxy's.
    let (level, limit, remedy) = match reason {
        Rejection::ProcessConnections => (
            Level::Alarm,
            format!("the process {has} its max_connections"),
            "raise max_connections in [runtime], or have idle clients closed sooner (idle_timeout)"
                .to_owned(),
        ),
        Rejection::SourceConnections => (
            Level::Warning,
            format!("a source {has} its max_connections_per_source"),
            format!(
                "find out who has so many (/connections), or raise max_connections_per_source in [listeners.{name}]"
            ),
        ),
        Rejection::PeerHeaders => (
            Level::Warning,
            format!("a peer {has} its max_headers_per_peer of connections without a PROXY header"),
            format!(
                "find out who has so many (/connections) and deny it (deny_peer); name balancers in `trusted`, or raise \
                 max_headers_per_peer in [listeners.{name}]"
            ),
        ),
        Rejection::SourceRate => (
            Level::Warning,
            format!("a source {is} beyond its max_rate_per_source"),
            format!(
                "the log names one of them; deny it, or raise max_rate_per_source in [listeners.{name}]"
            ),
        ),
        Rejection::ServersFull => (
            Level::Alarm,
            format!("its servers {} their max_connections", tense.choose("have", "had")),
            "raise max_connections of the upstream or of its servers, add servers, name a `fallback`, or have clients wait (`queue`)"
                .to_owned(),
        ),
        Rejection::QueueTimeout => (
            Level::Alarm,
            format!(
                "they {} for a place at its servers for longer than queue_timeout",
                tense.choose("wait", "waited")
            ),
            "raise max_connections of the upstream or of its servers, add servers, or name a `fallback`; a longer queue_timeout \
             only has them wait longer"
                .to_owned(),
        ),
        Rejection::ServersDown => (
            Level::Alarm,
            format!("no server that it leads to {} up", tense.choose("is", "was")),
            "bring the servers back (`corelane ctl servers` says which are down, drained or of weight 0), or name a `fallback`; when_all_down = \"try\" tries those that are down all the same".to_owned(),
        ),
        _ => (
            Level::Alarm,
            format!("more {} than its max_rate", tense.choose("come", "came")),
            format!(
                "raise max_rate or burst in [listeners.{name}], or have them wait (over_limit = \"wait\")"
            ),
        ),
    };
    finding(
        level,
        &format!(
            "listener {name} {} clients away: {limit}",
            tense.choose("turns", "turned"),
        ),
        &format!(
            "{} refused since {}",
            clients(episode.count),
            scene.clock(scene.utc(episode.since))
        ),
        &remedy,
    )
}

fn descriptors(
    scene: &Scene<'_>,
    listener: &ListenerView,
    episode: Episode,
    tense: Tense,
) -> Finding {
    let name = &listener.listener.name;
    let times = match episode.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    finding(
        Level::Alarm,
        &format!(
            "listener {name} {} take clients on: there {} no descriptor or memory left",
            tense.choose("can't", "couldn't"),
            tense.is()
        ),
        &format!(
            "accepting paused {times} since {}; clients {} meanwhile",
            scene.clock(scene.utc(episode.since)),
            tense.choose("wait", "waited")
        ),
        &more_descriptors(proxy_core::descriptors::room()),
    )
}

/// What helps where descriptors are short: the same figure as a start gives.
fn more_descriptors(room: Option<Room>) -> String {
    let lower = match room {
        Some(room) => format!(
            "have max_connections of all listeners allow no more than {} together (a connection needs two of the {}, and {} \
             are kept for the admin server, health checks and logs)",
            room.connections(),
            room.limit,
            room.kept
        ),
        None => "set a lower max_connections".to_owned(),
    };
    format!("raise `ulimit -n` (LimitNOFILE= of a systemd unit), or {lower}")
}

fn clients(count: u64) -> String {
    match count {
        1 => "1 client was".to_owned(),
        count => format!("{count} clients were"),
    }
}
