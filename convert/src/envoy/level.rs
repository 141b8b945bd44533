//! One of the things by which chains are narrowed down, and the values of it that they ask for.

use std::cmp::Reverse;

use ipnet::IpNet;

use super::super::access::{common, network, written};
use super::super::intersection::names_in_common;
use super::asked::{Asked, Chain};

/// What chains are narrowed down by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Level {
    Port,
    Name,
    Tls,
    Protocol,
    Peer,
    Source,
}

/// Values of which the same chains ask.
pub(super) struct Group<'c> {
    pub(super) values: Vec<String>,
    pub(super) chains: Vec<&'c Chain>,
}

impl Level {
    /// The key of a route.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Name | Self::Tls => "sni",
            Self::Protocol => "alpn",
            Self::Peer => "peer",
            Self::Source => "source",
        }
    }

    /// What a chain asks for, each with how specific it is.
    fn values(self, asked: &Asked) -> Vec<(usize, String)> {
        let networks = |all: &[IpNet]| {
            let of = |net: &IpNet| (usize::from(net.prefix_len()), written(net));
            all.iter()
                .filter(|net| !is_everybody(net))
                .map(of)
                .collect()
        };
        match self {
            Self::Port => asked
                .port
                .iter()
                .map(|port| (0, port.to_string()))
                .collect(),
            Self::Name => {
                let of = |name: &String| match name.strip_prefix('*') {
                    Some(end) => (end.len(), name.clone()),
                    None => (usize::MAX, name.clone()),
                };
                asked.names.iter().map(of).collect()
            }
            Self::Tls => Vec::new(),
            Self::Protocol => asked
                .protocols
                .iter()
                .map(|name| (0, name.clone()))
                .collect(),
            Self::Peer => networks(&asked.peers),
            Self::Source => networks(&asked.sources),
        }
    }

    /// The chains that ask for no value, and the values with those that ask for each: the most specific ones first, and those of the
    /// same chains together.
    pub(super) fn groups<'c>(self, chains: &[&'c Chain]) -> (Vec<&'c Chain>, Vec<Group<'c>>) {
        let mut rest = Vec::new();
        let mut values: Vec<(Reverse<usize>, String, usize)> = Vec::new();
        for (place, chain) in chains.iter().enumerate() {
            let asked = self.values(&chain.asked);
            let networks = match self {
                Self::Peer => &chain.asked.peers[..],
                Self::Source => &chain.asked.sources,
                _ => &[],
            };
            if asked.is_empty() || networks.iter().any(is_everybody) {
                rest.push(*chain);
            }
            values.extend(
                asked
                    .into_iter()
                    .map(|(rank, value)| (Reverse(rank), value, place)),
            );
        }
        values.sort();
        values.dedup();
        let by_value = values.chunk_by(|one, other| one.1 == other.1);
        let mut by_value: Vec<(Reverse<usize>, Vec<usize>, &str)> = by_value
            .map(|chunk| {
                let places = chunk.iter().map(|(_, _, place)| *place).collect();
                (chunk[0].0, places, chunk[0].1.as_str())
            })
            .collect();
        // Of those that are as specific, the order of the file.
        by_value.sort();
        let groups = by_value.chunk_by(|one, other| one.1 == other.1);
        let groups = groups.map(|chunk| Group {
            values: chunk
                .iter()
                .map(|(_, _, value)| (*value).to_owned())
                .collect(),
            chains: chunk[0].1.iter().map(|place| chains[*place]).collect(),
        });
        (rest, groups.collect())
    }

    /// Whether a connection can be of both groups.
    pub(super) fn share(self, one: &Group<'_>, other: &Group<'_>) -> bool {
        let can = |left: &String, right: &String| match self {
            Self::Port | Self::Tls => left == right,
            Self::Name => names_in_common(left, right).is_some(),
            // A client may offer both.
            Self::Protocol => true,
            Self::Peer | Self::Source => {
                let nets = network(left).zip(network(right));
                nets.is_none_or(|(one, other)| common(&one, &other).is_some())
            }
        };
        one.values
            .iter()
            .any(|left| other.values.iter().any(|right| can(left, right)))
    }
}

/// Whether it is a network of all addresses: who asks for it asks for nothing.
fn is_everybody(net: &IpNet) -> bool {
    net.prefix_len() == 0
}
