//! Keys of a listener that what stands beside them has no use for.

use crate::problems::findings::Findings;
use crate::raw::node::Place;
use crate::sections::listener::Listener;
use crate::sections::runtime::Runtime;

/// Warns of a time over which a drain closes that is longer than the drain.
pub(crate) fn of_runtime(runtime: &Runtime, place: &Place, warnings: &Findings) {
    if let Some(close_over) = runtime.close_over
        && close_over > runtime.drain_timeout
    {
        let path = format!("{}.close_over", place.path);
        let message = format!(
            "`{path}` is longer than `drain_timeout`: connections are closed from the begin of a drain on, over all of it; shorten it, \
             or lengthen `drain_timeout`"
        );
        warnings.add(place.at, Some(path), message);
    }
}

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

/// Warns of those `written` keys that are for what this listener lacks. `hears_hello` says whether it hears ClientHellos.
pub(crate) fn for_others(
    listener: &Listener,
    hears_hello: bool,
    written: &[&str],
    place: &Place,
    warnings: &Findings,
) {
    let admission = &listener.admission;
    let hears = hears_hello || listener.accept_proxy.is_some();
    let counts_sources = admission.max_connections_per_source.is_some()
        || admission.max_rate_per_source.is_some()
        || admission.max_headers_per_peer.is_some();
    for &key in written {
        let why = match key {
            "prologue_timeout" if !hears => {
                "nothing is heard of a client before it has a server: there is no `accept_proxy_protocol`, no `starttls`, no route \
                 that asks for `sni` or `alpn`, and no `hash_on = \"sni\"`; remove it"
            }
            "not_tls" if !hears_hello => {
                "nobody's TLS is heard: there is no `starttls`, no route that asks for `sni` or `alpn`, and no `hash_on = \"sni\"`; \
                 who speaks no TLS is let in. Add a route with sni = \"*\", or remove this"
            }
            "lifetime_jitter" if listener.times.max_lifetime.is_none() => {
                "it is for `max_lifetime`, which is missing; add it, or remove this"
            }
            "source_prefix" if !counts_sources => {
                "no limit is for each source: add `max_connections_per_source`, `max_rate_per_source` or `max_headers_per_peer`, or \
                 remove this"
            }
            _ => continue,
        };
        warn(key, why, place, warnings);
    }
    if admission.max_headers_per_peer.is_some() && listener.accept_proxy.is_none() {
        let why = "it is for `accept_proxy_protocol`, which is missing; add it, or remove this";
        warn("max_headers_per_peer", why, place, warnings);
    }
}

fn warn(key: &str, why: &str, place: &Place, warnings: &Findings) {
    let path = format!("{}.{key}", place.path);
    let message = format!("`{path}` does nothing: {why}");
    warnings.add(place.at, Some(path), message);
}
