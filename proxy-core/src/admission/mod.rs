//! Which connections a listener takes on.
//!
//! It is decided at the accept, by who has connected, and once more after the prologue, where the client is known only then.
//! First what is the client's own: whether it is let in, and the limits of its source; then the limits of all.

pub(crate) mod access;
pub(crate) mod bandwidth;
pub(crate) mod limits;
pub(crate) mod prefixes;
pub(crate) mod rate;
pub(crate) mod source;
pub(crate) mod source_rates;
pub(crate) mod waiting;

use std::time::Instant;

use crate::admission::limits::Refused;
use crate::admission::source::Source;
use crate::admission::waiting::Wait;
use crate::connection::origin::{ClientAddress, Origin};
use crate::listener::settings::ListenerSettings;
use crate::metrics::Rejection;

/// Whether a peer that was accepted just now may be a client. Where peers announce clients, all may, as far as it is known yet.
pub(crate) fn admits_peer(settings: &ListenerSettings, peer: ClientAddress) -> bool {
    match &settings.access {
        Some(access) => settings.hears_of_clients() || access.admits(peer),
        None => true,
    }
}

/// Takes one more connection, which was accepted just now: it counts as the listener's until it is released. Returns the source
/// that it counts for, too.
pub(crate) fn at_accept(
    settings: &ListenerSettings,
    origin: Origin,
    now: Instant,
) -> Result<Option<Source>, Refused> {
    let source = if settings.hears_of_clients() {
        None
    } else {
        settings.limits.source(origin.peer)
    };
    if let Some(source) = source {
        take_source(settings, source, now).map_err(|rejection| Refused {
            rejection,
            wait: Wait::Never,
        })?;
    }
    let taken = take_place(settings, now);
    if let (Err(_), Some(source)) = (&taken, source) {
        if let Some(rates) = &settings.limits.source_rate {
            rates.put_back(source);
        }
        if settings.limits.source_connections.is_some() {
            settings.listener.counted.sources.release(source);
        }
    }
    taken?;
    Ok(source.filter(|_| settings.limits.source_connections.is_some()))
}

/// Whether a connection whose client was heard may go on. It was taken at the accept, and is released when it ends. Returns
/// the source that it counts for from now on.
pub(crate) fn after_prologue(
    settings: &ListenerSettings,
    client: ClientAddress,
    now: Instant,
) -> Result<Option<Source>, Rejection> {
    if !settings.hears_of_clients() {
        return Ok(None);
    }
    if let Some(access) = &settings.access
        && !access.admits(client)
    {
        return Err(Rejection::Denied);
    }
    let Some(source) = settings.limits.source(client) else {
        return Ok(None);
    };
    take_source(settings, source, now)?;
    Ok(settings.limits.source_connections.map(|_| source))
}

/// Takes what is the source's own.
fn take_source(settings: &ListenerSettings, source: Source, now: Instant) -> Result<(), Rejection> {
    let (limits, sources) = (&settings.limits, &settings.listener.counted.sources);
    if let Some(max) = limits.source_connections
        && !sources.take(source, max)
    {
        return Err(Rejection::SourceConnections);
    }
    if let Some(rates) = &limits.source_rate
        && !rates.take(now, source)
    {
        if limits.source_connections.is_some() {
            sources.release(source);
        }
        return Err(Rejection::SourceRate);
    }
    Ok(())
}

/// Takes a place among all connections.
fn take_place(settings: &ListenerSettings, now: Instant) -> Result<(), Refused> {
    let (limits, listener) = (&settings.limits, &settings.listener);
    if !listener.take(settings.max_connections) {
        return Err(Refused::LISTENER_IS_FULL);
    }
    if !listener.counted.total.take(limits.process_connections) {
        listener.release();
        // Somebody else may have found it full.
        listener.counted.total.waiters.on_end(listener.id);
        return Err(Refused::PROCESS_IS_FULL);
    }
    if let Some(meter) = &limits.rate
        && let Err(enough_at) = meter.take(now, 1)
    {
        release(settings, None);
        return Err(Refused::until(enough_at));
    }
    Ok(())
}

/// Whether there is a place now, which others may take meanwhile.
///
/// # Errors
/// What is lacking.
pub(crate) fn find_place(settings: &ListenerSettings, now: Instant) -> Result<(), Refused> {
    let (limits, listener) = (&settings.limits, &settings.listener);
    if listener.is_full(settings.max_connections) {
        return Err(Refused::LISTENER_IS_FULL);
    }
    if listener.counted.total.is_full(limits.process_connections) {
        return Err(Refused::PROCESS_IS_FULL);
    }
    let enough = limits.rate.as_ref().map(|meter| meter.find(now, 1));
    enough.unwrap_or(Ok(())).map_err(Refused::until)
}

/// Gives back what a connection has taken.
pub(crate) fn release(settings: &ListenerSettings, source: Option<Source>) {
    let listener = &settings.listener;
    listener.release();
    listener.counted.total.release();
    if let Some(source) = source {
        listener.counted.sources.release(source);
    }
    listener.counted.total.waiters.on_end(listener.id);
}
