//! Keys of an upstream that what stands beside them has no use for, of those that say which server gets a connection.

use crate::problems::findings::Findings;
use crate::raw::node::Place;
use crate::sections::balance::Balance;
use crate::sections::discovery::DiscoverySource;
use crate::sections::health::Check;
use crate::sections::upstream::Upstream;

/// Warns of what is written and does nothing.
pub(crate) fn of_upstream(upstream: &Upstream, place: &Place, warnings: &Findings) {
    let warn = |key: &str, why: &str| {
        let path = format!("{}.{key}", place.path);
        let message = format!("`{path}` does nothing: {why}");
        warnings.add(place.at, Some(path), message);
    };
    let balancing = &upstream.balancing;
    let mut servers = upstream.servers.iter();
    // Agents and sources may set limits, too.
    let has_limits = balancing.max_connections.is_some()
        || servers
            .clone()
            .any(|server| server.max_connections.is_some())
        || upstream.agent.is_some()
        || upstream.discovery.is_some();
    if balancing.queue.is_some() && !has_limits {
        let why = "clients wait where servers have their `max_connections`, and there is none; add one to the upstream or to its \
                   servers, or remove this";
        warn("queue", why);
    }
    if balancing.slow_start.is_some()
        && matches!(balancing.balance, Balance::SourceHash | Balance::First)
    {
        let why = format!(
            "under balance = \"{}\" weights don't grow; choose another one, or remove this",
            balancing.balance
        );
        warn("slow_start", &why);
    }
    if upstream.health.is_none()
        && let Some(index) = servers.position(|server| server.check_port.is_some())
    {
        let key = format!("servers[{index}].check_port");
        let why = format!(
            "it is for health checks, and there are none; add a table [upstreams.{}.health], or remove this",
            upstream.name
        );
        warn(&key, &why);
    }
    if let Some(health) = &upstream.health {
        if let Check::Tls(tls) = &health.check
            && tls.ca.is_some()
            && !tls.verify
        {
            let why = "certificates aren't verified; write verify = true beside it, or remove this";
            warn("health.tls.ca", why);
        }
        if health.fast_interval > health.interval {
            let why = "it is longer than `interval`, after which a check comes anyway; shorten it, or remove this";
            warn("health.fast_interval", why);
        }
    }
    if let Some(ejection) = &upstream.ejection
        && ejection.max < ejection.base
    {
        let why = "it is shorter than `base`, for which each ejection lasts then; lengthen it, or shorten `base`";
        warn("ejection.max", why);
    }
    if let Some(discovery) = &upstream.discovery
        && !discovery.nameservers.is_empty()
        && !matches!(discovery.source, DiscoverySource::Dns(_))
    {
        let why = "the source is not `dns`; remove this";
        warn("discovery.nameservers", why);
    }
}
