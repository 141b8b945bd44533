//! Peers that don't announce their clients as their listener wants it.

use proxy_core::metrics::PrologueResult;

use super::found::{Found, Subject, finding, unix_seconds};
use super::scene::Scene;
use super::tense::Told;
use crate::sampling::recent::HEADER_REFUSALS;
use proxy_state::{Finding, Level};

/// The listener that has refused most headers lately, or their lack.
pub(super) fn of(scene: &Scene<'_>) -> Option<Found> {
    let listeners = scene.view.listeners.iter();
    let episodes = listeners
        .filter_map(|view| Some((&view.listener, scene.recent.unannounced(view.listener.id)?)));
    let (listener, episode) = episodes.max_by_key(|(_, episode)| episode.count)?;
    let count = |result: &PrologueResult| {
        let cells = &listener.cells;
        cells.sum(|cells| cells.prologue[*result as usize].get())
    };
    let most = HEADER_REFUSALS.into_iter().max_by_key(count)?;
    let name = &listener.name;
    let (what, remedy) = match most {
        PrologueResult::NoHeader => (
            "they begin with no header of the PROXY protocol",
            "have the balancer send one (`send-proxy-v2` in HAProxy), or write accept_proxy_protocol = \"optional\"",
        ),
        PrologueResult::Untrusted => (
            "they are none of those that may send a header of the PROXY protocol",
            "add the balancers' networks to trusted, or write untrusted = \"plain\"",
        ),
        _ => (
            "their headers of the PROXY protocol are broken",
            "find out who sends them: the access log has each peer",
        ),
    };
    let clients = match episode.count {
        1 => "1 client was".to_owned(),
        count => format!("{count} clients were"),
    };
    let told = Told::of(|tense| Finding {
        since: Some(unix_seconds(scene.utc(episode.since))),
        ..finding(
            Level::Warning,
            &format!(
                "listener {name} {} clients: {what}",
                tense.choose("refuses", "refused")
            ),
            &format!(
                "{clients} refused since {}",
                scene.clock(scene.utc(episode.since))
            ),
            remedy,
        )
    });
    Some(Found {
        subject: Subject::Header,
        told,
        last: episode.last,
    })
}
