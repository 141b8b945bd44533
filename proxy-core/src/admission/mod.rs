//! Which connections a listener takes on.
//!
//! It is decided at the accept, by who has connected, and once more after the prologue, where the client is known only then.

use crate::connection::origin::Origin;
use crate::listener::settings::ListenerSettings;
use crate::metrics::Rejection;
use crate::route::Facts;

/// Takes one more connection, which was accepted just now: it counts as the listener's until it is released.
pub(crate) fn at_accept(settings: &ListenerSettings, _origin: Origin) -> Result<(), Rejection> {
    if settings.listener.take(settings.max_connections) {
        Ok(())
    } else {
        Err(Rejection::MaxConnections)
    }
}

/// Whether a connection whose client was heard may go on. It was taken at the accept, and is released when it ends.
pub(crate) fn after_prologue(
    _settings: &ListenerSettings,
    _facts: &Facts,
) -> Result<(), Rejection> {
    Ok(())
}
