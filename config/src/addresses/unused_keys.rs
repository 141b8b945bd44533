//! Keys of a listener that what stands beside them has no use for.

use crate::problems::findings::Findings;
use crate::raw::node::Place;
use crate::sections::listener::Listener;

/// Warns of bursts of rates that there are not.
pub(crate) fn of_rates(listener: &Listener, place: &Place, warnings: &Findings) {
    let admission = &listener.admission;
    let of_sources = admission.max_rate_per_source.is_some();
    let burst_is_used = admission.max_rate.is_some()
        // It stands in for the one of sources.
        || of_sources && admission.burst_per_source.is_none();
    if admission.burst.is_some() && !burst_is_used {
        let why = "it is for `max_rate`, which is missing; add it, or remove this";
        warn("burst", why, place, warnings);
    }
    if admission.burst_per_source.is_some() && !of_sources {
        let why = "it is for `max_rate_per_source`, which is missing; add it, or remove this";
        warn("burst_per_source", why, place, warnings);
    }
}

/// Warns of limits and times of what is heard of clients, where nothing is. `hears` says whether anything is heard, and
/// `says_timeout` whether `prologue_timeout` is written.
pub(crate) fn of_prologue(
    listener: &Listener,
    (hears, says_timeout): (bool, bool),
    place: &Place,
    warnings: &Findings,
) {
    if says_timeout && !hears {
        let why = "nothing is heard of a client before it has a server: there is no `accept_proxy_protocol`, no `starttls`, no route \
                   that asks for `sni` or `alpn`, and no `hash_on = \"sni\"`; remove it";
        warn("prologue_timeout", why, place, warnings);
    }
    if listener.admission.max_headers_per_peer.is_some() && listener.accept_proxy.is_none() {
        let why = "it is for `accept_proxy_protocol`, which is missing; add it, or remove this";
        warn("max_headers_per_peer", why, place, warnings);
    }
}

fn warn(key: &str, why: &str, place: &Place, warnings: &Findings) {
    let path = format!("{}.{key}", place.path);
    let message = format!("`{path}` does nothing: {why}");
    warnings.add(place.at, Some(path), message);
}
