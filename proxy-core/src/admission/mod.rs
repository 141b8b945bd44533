//! Which connections a listener takes on.
//!
//! It is decided at the accept, by who has connected, and once more after the prologue, where the client is known only then.

pub(crate) mod access;
pub(crate) mod prefixes;

use crate::connection::origin::{ClientAddress, Origin};
use crate::listener::settings::ListenerSettings;
use crate::metrics::Rejection;
use crate::route::Facts;

/// Whether a peer that was accepted just now may be a client. Where peers announce clients, all may, as far as it is known yet.
pub(crate) fn admits_peer(settings: &ListenerSettings, peer: ClientAddress) -> bool {
    match &settings.access {
        Some(access) => settings.hears_of_clients() || access.admits(peer),
        None => true,
    }
}

/// Takes one more connection, which was accepted just now: it counts as the listener's until it is released.
pub(crate) fn at_accept(settings: &ListenerSettings, _origin: Origin) -> Result<(), Rejection> {
    if settings.listener.take(settings.max_connections) {
        Ok(())
    } else {
        Err(Rejection::MaxConnections)
    }
}

/// Whether a connection whose client was heard may go on. It was taken at the accept, and is released when it ends.
pub(crate) fn after_prologue(settings: &ListenerSettings, facts: &Facts) -> Result<(), Rejection> {
    match &settings.access {
        Some(access) if settings.hears_of_clients() && !access.admits(facts.client) => {
            Err(Rejection::Denied)
        }
        _ => Ok(()),
    }
}
