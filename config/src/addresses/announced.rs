//! Clients that anybody may announce.

use crate::problems::findings::Findings;
use crate::raw::node::Place;
use crate::sections::listener::Listener;
use crate::values::address::BindAddress;

/// Warns where what a listener decides by a client's address can be got around, as whoever connects may announce any.
pub(crate) fn warn(listener: &Listener, place: &Place, warnings: &Findings) {
    let takes_any = (listener.accept_proxy.as_ref()).is_some_and(|accept| accept.trusted.is_none());
    let is_unix = |bind: &BindAddress| matches!(bind, BindAddress::Unix(_));
    if !takes_any || !listener.binds.is_empty() && listener.binds.iter().all(is_unix) {
        return;
    }
    let admission = &listener.admission;
    let decides = [
        ("allow", !admission.allow.is_empty()),
        ("deny", !admission.deny.is_empty()),
        (
            "max_connections_per_source",
            admission.max_connections_per_source.is_some(),
        ),
        (
            "max_rate_per_source",
            admission.max_rate_per_source.is_some(),
        ),
        (
            "routes",
            listener.routes.iter().any(|route| !route.source.is_empty()),
        ),
    ];
    if let Some((key, _)) = decides.into_iter().find(|(_, decides)| *decides) {
        let path = format!("{}.{key}", place.path);
        let message = format!(
            "`{path}` goes by the addresses that headers of the PROXY protocol announce, and everyone may send one: a client \
             that announces another address gets around it; write trusted = [...] with the networks of your balancers, or go by \
             who has connected: allow_peer, deny_peer, or peer in a route"
        );
        warnings.add(place.at, Some(path), message);
    }
}
