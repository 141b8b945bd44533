//! Listeners that hear of nobody what they want to hear.

use proxy_core::Listener;
use proxy_core::metrics::PrologueResult;

use super::found::{Found, Subject, finding, unix_seconds};
use super::scene::Scene;
use super::tense::Told;
use crate::sampling::recent::UNHEARD;
use proxy_state::{Finding, Level};

/// Clients from which on it is told. One may be a scanner.
const CLIENTS_MIN: u64 = 3;

/// The listener with most clients that say nothing of use, while no client does.
pub(super) fn of(scene: &Scene<'_>) -> Option<Found> {
    let listeners = scene.view.listeners.iter();
    let episodes = listeners
        .filter_map(|view| Some((&*view.listener, scene.recent.unheard(view.listener.id)?)));
    let many = episodes.filter(|(_, episode)| episode.count >= CLIENTS_MIN);
    let (listener, episode) = many.max_by_key(|(_, episode)| episode.count)?;
    let (what, remedy) = words(listener)?;
    let name = &listener.name;
    let told = Told::of(|tense| Finding {
        since: Some(unix_seconds(scene.utc(episode.since))),
        ..finding(
            Level::Warning,
            &format!(
                "listener {name} {} every client: {what}",
                tense.choose("refuses", "refused")
            ),
            &format!(
                "{} clients were refused since {}, and none was heard",
                episode.count,
                scene.clock(scene.utc(episode.since))
            ),
            remedy,
        )
    });
    Some(Found {
        subject: Subject::Unheard,
        told,
        last: episode.last,
    })
}

/// What most of them do, and what helps.
fn words(listener: &Listener) -> Option<(&'static str, &'static str)> {
    let count = |result: &PrologueResult| {
        let cells = &listener.cells;
        cells.sum(|cells| cells.prologue[*result as usize].get())
    };
    Some(match UNHEARD.into_iter().max_by_key(count)? {
        PrologueResult::Timeout => (
            "they say nothing for prologue_timeout",
            "if the server is to speak first, the listener can't wait for its clients: it needs routes without sni and alpn, \
             and no accept_proxy_protocol; if clients are slow, raise prologue_timeout",
        ),
        PrologueResult::NoHello => (
            "they speak no TLS",
            "write not_tls = \"accept\", or starttls where TLS begins later",
        ),
        PrologueResult::BadHello => (
            "what they say is no ClientHello of TLS",
            "find out who they are: the access log has each peer",
        ),
        PrologueResult::TooLong => (
            "what they say first is too long",
            "find out who they are: the access log has each peer",
        ),
        _ => (
            "they go away before they have said who they are or what they want",
            "if they are checks of a balancer, have it connect and close without a byte, or send what clients send",
        ),
    })
}
