//! Servers that never serve.

use crate::problems::findings::Findings;
use crate::raw::node::Place;
use crate::sections::balance::Balance;
use crate::sections::upstream::{Server, Upstream};

/// Warns of servers of which none ever serves, and of limits that keep `first` at its first server.
pub(crate) fn warn(upstream: &Upstream, place: &Place, warnings: &Findings) {
    let mut servers = upstream.servers.iter();
    if upstream.servers.is_empty() {
        return;
    }
    let add = |key: &str, message: String| {
        let path = format!("{}.{key}", place.path);
        warnings.add(place.at, Some(path), message);
    };
    if servers.clone().all(|server| server.weight == 0) {
        let message = "all servers have weight 0: none gets a new connection";
        add("servers", format!("`{}.servers`: {message}", place.path));
    }
    let Some(first) = servers.find(|server| server.weight > 0 && !server.backup) else {
        return;
    };
    let is_endless = |server: &Server| server.max_connections.is_none();
    if upstream.balancing.balance == Balance::First && is_endless(first) && servers.next().is_some()
    {
        add(
            "balance",
            format!(
                "`{}.balance` is \"first\", and {} has no `max_connections`: it gets all connections while it is up; give it a limit",
                place.path, first.address
            ),
        );
    }
}
