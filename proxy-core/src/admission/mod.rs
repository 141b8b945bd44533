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
use crate::prologue::AcceptProxy;

/// What a connection counts for besides its listener and the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// For nothing.
    Nothing,
    /// For its client's source.
    Source(Source),
    /// For its peer, which has not announced its client yet.
    Peer(Source),
}

/// Whether a peer that was accepted just now may be a client. Where it announces one, it may as far as it is known yet.
pub(crate) fn admits_peer(settings: &ListenerSettings, peer: ClientAddress) -> bool {
    if let Some(access) = &settings.peer_access
        && !access.admits(peer)
    {
        return false;
    }
    match &settings.access {
        Some(access) => !settings.is_client(peer) || access.admits(peer),
        None => true,
    }
}

/// Takes one more connection, which was accepted just now: it counts as the listener's until it is released. Returns what else it
/// counts for.
pub(crate) fn at_accept(
    settings: &ListenerSettings,
    origin: Origin,
    now: Instant,
) -> Result<Counts, Refused> {
    let counts = match settings.accept_proxy() {
        Some(accept) if !accept.takes_as_client(origin.peer) => take_peer(settings, accept, origin),
        _ => take_client(settings, origin.peer, now),
    };
    let counts = counts.map_err(|rejection| Refused {
        rejection,
        wait: Wait::Never,
    })?;
    let taken = take_place(settings, now);
    if taken.is_err() {
        give_back(settings, counts);
        // A rate counts whether or not there is a limit of connections.
        if settings.is_client(origin.peer)
            && let Some(rates) = &settings.limits.source_rate
            && let Some(source) = settings.limits.source(origin.peer)
        {
            rates.put_back(source);
        }
    }
    taken?;
    Ok(counts)
}

/// Whether a connection whose client was heard may go on. It was taken at the accept, where it counted so, and is released when it
/// ends. Returns what it counts for from now on.
pub(crate) fn after_prologue(
    settings: &ListenerSettings,
    peer: ClientAddress,
    client: ClientAddress,
    counts: Counts,
    now: Instant,
) -> Result<Counts, Rejection> {
    if settings.is_client(peer) {
        return Ok(counts);
    }
    give_back(settings, counts);
    if let Some(access) = &settings.access
        && !access.admits(client)
    {
        return Err(Rejection::Denied);
    }
    take_client(settings, client, now)
}

/// Takes what is a client's own.
fn take_client(
    settings: &ListenerSettings,
    client: ClientAddress,
    now: Instant,
) -> Result<Counts, Rejection> {
    let Some(source) = settings.limits.source(client) else {
        return Ok(Counts::Nothing);
    };
    take_source(settings, source, now)?;
    let counts = settings.limits.source_connections.map(|_| source);
    Ok(counts.map_or(Counts::Nothing, Counts::Source))
}

/// Takes what is the own of a peer that is to announce a client.
fn take_peer(
    settings: &ListenerSettings,
    accept: &AcceptProxy,
    origin: Origin,
) -> Result<Counts, Rejection> {
    // One that may not announce any is refused without being waited for.
    if !accept.trusts(origin.peer) {
        return Ok(Counts::Nothing);
    }
    let limit = settings.limits.peer(origin.peer, accept.names(origin.peer));
    let Some((peer, max)) = limit else {
        return Ok(Counts::Nothing);
    };
    if settings.listener.counted.peers.take(peer, max) {
        Ok(Counts::Peer(peer))
    } else {
        Err(Rejection::PeerHeaders)
    }
}

/// Gives back what a connection counts for besides its listener.
fn give_back(settings: &ListenerSettings, counts: Counts) {
    let counted = &settings.listener.counted;
    match counts {
        Counts::Nothing => {}
        Counts::Source(source) => counted.sources.release(source),
        Counts::Peer(peer) => counted.peers.release(peer),
    }
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
        release(settings, Counts::Nothing);
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

/// Counts a connection that is there already, whatever the limits are. Returns what it counts for besides its listener.
pub(crate) fn take_over(settings: &ListenerSettings, source: Option<Source>) -> Counts {
    let listener = &settings.listener;
    listener.take(None);
    listener.counted.total.take(None);
    let Some(source) = source else {
        return Counts::Nothing;
    };
    listener.counted.sources.take(source, u64::MAX);
    Counts::Source(source)
}

/// Gives back what a connection has taken.
pub(crate) fn release(settings: &ListenerSettings, counts: Counts) {
    let listener = &settings.listener;
    listener.release();
    listener.counted.total.release();
    give_back(settings, counts);
    listener.counted.total.waiters.on_end(listener.id);
}
