//! Routes as people are shown them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::names::NamePattern;
use super::taken::Route;

/// Values of one list that are named; of more, only how many they are.
const VALUES_NAMED_MAX: usize = 3;

/// A route of a listener.
#[derive(Clone, Debug)]
pub struct RouteView<'a> {
    /// What is counted of it.
    pub route: &'a Arc<Route>,
    /// What it asks for, in words; empty: nothing.
    pub asks: &'a str,
    /// Where its connections go.
    pub to: RouteTarget<'a>,
}

/// Where the connections of a route go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget<'a> {
    /// To these upstreams, by weight.
    Upstreams(Vec<(&'a str, u64)>),
    /// To the listener's own upstream.
    Default,
    /// Nowhere: they are refused.
    Nowhere,
}

/// What a route asks for.
pub(super) fn asks(
    names: &[NamePattern],
    alpn: &[Box<[u8]>],
    (source, peer): (&[IpNet], &[IpNet]),
    ports: &[RangeInclusive<u16>],
) -> Box<str> {
    let alpn = alpn.iter();
    let alpn = alpn.map(|protocol| format!("alpn {}", protocol.escape_ascii()));
    let source = source.iter().map(|network| format!("from {network}"));
    let peer = peer.iter().map(|network| format!("peer {network}"));
    let ports = ports.iter().map(|range| {
        let (first, last) = (range.start(), range.end());
        if first == last {
            format!("port {first}")
        } else {
            format!("ports {first}-{last}")
        }
    });
    let parts = [
        one_of(names.iter().map(ToString::to_string)),
        one_of(alpn),
        one_of(source),
        one_of(peer),
        one_of(ports),
    ];
    let asked: Vec<_> = parts.into_iter().flatten().collect();
    asked.join("; ").into()
}

fn one_of(values: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let more = values.len().saturating_sub(VALUES_NAMED_MAX);
    let named: Vec<_> = values.take(VALUES_NAMED_MAX).collect();
    match (named.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(named.join(", ")),
        (false, more) => Some(format!("{} and {more} more", named.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_asks_for_is_said_in_few_words() {
        assert_eq!(&*asks(&[], &[], (&[], &[]), &[]), "");
        let names = ["a.example", "*.b.example", "*", "c.example", "d.example"];
        let asked = asks(
            &names.map(NamePattern::new),
            &[(*b"h2").into(), (*b"\x1b").into()],
            (
                &["10.0.0.0/8".parse().expect("a network")],
                &["192.0.2.0/24".parse().expect("a network")],
            ),
            &[80..=80, 8000..=8010],
        );
        assert_eq!(
            &*asked,
            "a.example, *.b.example, * and 2 more; alpn h2, alpn \\x1b; from 10.0.0.0/8; peer 192.0.2.0/24; port 80, ports 8000-8010"
        );
    }
}
