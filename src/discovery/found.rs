//! The servers that a source names, and what of them becomes part of an upstream.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU64};

use proxy_config::{SERVERS_MAX, Server, ServerAddress, discovered_address};
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Reason};

/// The highest weight of a server, as in the configuration.
pub(super) const WEIGHT_MAX: u16 = 256;

/// A server that a source names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) address: SocketAddr,
    /// It serves only while no other server can. Of two that say otherwise, the one that is none counts.
    pub(crate) backup: bool,
    pub(crate) weight: NonZeroU16,
    pub(crate) max_connections: Option<NonZeroU64>,
}

impl Found {
    /// A server like any other.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            address,
            backup: false,
            weight: NonZeroU16::MIN,
            max_connections: None,
        }
    }
}

/// The servers that a source may name: from 1 to [`SERVERS_MAX`], each once, in the order of their addresses, so that answers
/// in another order are the same.
///
/// An upstream is never emptied by its source: no servers, or too many, or one that there can't be, is more often a source that
/// has failed than what is meant. How many of those before are still there says nothing: to scale down is normal.
///
/// # Errors
/// When it names none, too many, or an address that no server has.
pub(super) fn checked(mut found: Vec<Found>) -> Result<Vec<Found>, Failure> {
    for Found { address, .. } in &found {
        if let Err(why) = discovered_address(&address.to_string()) {
            let detail = format!("{address} is no address of a server: {why}");
            return Err(Failure::new(Reason::Address, detail));
        }
    }
    found.sort();
    found.dedup_by_key(|found| found.address);
    match found.len() {
        0 => Err(Failure::new(Reason::Empty, "it names no server")),
        count if count > SERVERS_MAX => Err(Failure::new(
            Reason::TooMany,
            format!("it names {count} servers, and an upstream has {SERVERS_MAX} at most"),
        )),
        _ => Ok(found),
    }
}

/// The servers of an upstream: those that are configured, as they are, and then those that were found and are not among them,
/// up to [`SERVERS_MAX`].
pub(super) fn merge(configured: &[Server], found: &[Found]) -> Vec<Server> {
    let mut known: HashSet<ServerAddress> = configured
        .iter()
        .map(|server| server.address.clone())
        .collect();
    let mut servers = configured.to_vec();
    for found in found {
        let address = ServerAddress::Socket(found.address);
        if servers.len() < SERVERS_MAX && known.insert(address.clone()) {
            servers.push(Server {
                weight: found.weight.get(),
                backup: found.backup,
                max_connections: found.max_connections,
                check_port: None,
                address,
            });
        }
    }
    servers
}

/// A weight within the limits.
pub(super) fn weight(wanted: u64) -> NonZeroU16 {
    let weight = wanted.clamp(1, WEIGHT_MAX.into());
    NonZeroU16::new(weight as u16).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(address: &str) -> Found {
        Found::at(address.parse().expect("an address"))
    }

    fn reason(addresses: &[&str]) -> Result<usize, Reason> {
        let checked = checked(addresses.iter().map(|one| found(one)).collect());
        checked.map(|all| all.len()).map_err(|error| error.reason)
    }

    #[test]
    fn a_set_that_can_t_be_meant_is_refused() {
        assert_eq!(reason(&[]), Err(Reason::Empty));
        for poisoned in [
            "10.0.0.1:0",
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
        ] {
            assert_eq!(
                reason(&["10.0.0.1:80", poisoned]),
                Err(Reason::Address),
                "{poisoned}"
            );
        }
        assert_eq!(reason(&["10.0.0.1:80", "10.0.0.1:80"]), Ok(1));
        let many = |count: u32| -> Vec<Found> {
            let address =
                |n: u32| SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0001 + n), 80));
            (0..count).map(|n| Found::at(address(n))).collect()
        };
        assert!(checked(many(SERVERS_MAX as u32)).is_ok());
        let refused = checked(many(100_000)).map_err(|error| error.reason);
        assert_eq!(refused, Err(Reason::TooMany));
    }

    fn servers() -> impl Strategy<Value = Vec<(u8, u16)>> {
        prop::collection::vec((any::<u8>(), 1_u16..300), 0..1500)
    }

    proptest! {
        #[test]
        fn a_merge_keeps_what_is_configured_and_adds_each_other_once_within_bounds(
            configured in prop::collection::btree_map(any::<u8>(), 1_u16..256, 0..20),
            found in servers(),
        ) {
            let at = |last: u8, port: u16| SocketAddr::from(([10, 0, 0, last], port));
            let configured: Vec<_> = configured
                .iter()
                .map(|(&last, &weight)| Server {
                    address: ServerAddress::Socket(at(last, 80)),
                    weight,
                    backup: false,
                    max_connections: None,
                check_port: None,
                })
                .collect();
            let found: Vec<_> = found
                .iter()
                .map(|&(last, port)| Found { weight: super::weight(port.into()), ..Found::at(at(last, port)) })
                .collect();
            let merged = merge(&configured, &found);
            prop_assert_eq!(&merged[..configured.len()], &configured[..]);
            let addresses: HashSet<_> = merged.iter().map(|one| one.address.clone()).collect();
            prop_assert_eq!(addresses.len(), merged.len());
            prop_assert!(merged.len() <= SERVERS_MAX);
            if merged.len() < SERVERS_MAX {
                let is_there = |found: &Found| addresses.contains(&ServerAddress::Socket(found.address));
                prop_assert!(found.iter().all(is_there));
            }
            prop_assert_eq!(&merge(&merged, &found), &merged, "once more changes nothing");
        }

        #[test]
        fn the_order_of_an_answer_says_nothing(
            addresses in prop::collection::btree_set((any::<u8>(), 1_u16..300), 1..50),
        ) {
            let found: Vec<_> = addresses
                .into_iter()
                .map(|(last, port)| Found::at(([10, 0, 0, last], port).into()))
                .collect();
            let reversed = found.iter().rev().cloned().collect();
            prop_assert_eq!(checked(found), checked(reversed));
        }
    }
}
