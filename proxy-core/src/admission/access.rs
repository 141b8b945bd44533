//! Who may connect, by the address.

use ipnet::IpNet;

use crate::admission::prefixes::Prefixes;
use crate::connection::origin::ClientAddress;

/// Clients that are let in, or kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Those with an address in this network. Clients over IPv4 have addresses of IPv4, whatever the socket.
    Network(IpNet),
    /// Those of unix sockets.
    Unix,
}

/// Lists of who may connect and who may not. They never change once they are made.
#[derive(Clone, Debug)]
pub struct Access {
    networks: Prefixes<Verdict>,
    unix: Verdict,
    /// For who is in no list.
    others: Verdict,
    entries: usize,
}

/// In this order, the last one is in force where both are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Allow,
    Deny,
}

impl Access {
    /// Lets `allow` in and keeps `deny` out. The longest prefix decides, and `deny` where both have it. Where `allow` is there
    /// at all, though it may be empty, others are kept out.
    pub fn new(
        allow: Option<impl IntoIterator<Item = Clients>>,
        deny: impl IntoIterator<Item = Clients>,
    ) -> Self {
        let others = if allow.is_some() {
            Verdict::Deny
        } else {
            Verdict::Allow
        };
        let allow = allow.into_iter().flatten();
        let allow = allow.map(|clients| (clients, Verdict::Allow));
        let deny = deny.into_iter().map(|clients| (clients, Verdict::Deny));
        let (mut unix, mut entries) = (None, 0);
        let networks = allow.chain(deny).filter_map(|(clients, verdict)| {
            entries += 1;
            match clients {
                Clients::Network(network) => Some((network, verdict)),
                Clients::Unix => {
                    unix = unix.max(Some(verdict));
                    None
                }
            }
        });
        let networks = Prefixes::new(networks, Verdict::max);
        Self {
            networks,
            unix: unix.unwrap_or(others),
            others,
            entries,
        }
    }

    /// Whether this client may connect.
    pub fn admits(&self, client: ClientAddress) -> bool {
        let verdict = match client {
            ClientAddress::Tcp(address) => self.networks.find(address.ip()),
            ClientAddress::Unix => Some(self.unix),
        };
        verdict.unwrap_or(self.others) == Verdict::Allow
    }

    /// How many entries the lists have together.
    pub fn entries(&self) -> usize {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;

    fn clients(text: &str) -> Clients {
        match text {
            "unix" => Clients::Unix,
            network => Clients::Network(network.parse().expect("a network")),
        }
    }

    fn admitted(allow: Option<&[&str]>, deny: &[&str]) -> Vec<&'static str> {
        let list = |list: &[&str]| list.iter().map(|text| clients(text)).collect::<Vec<_>>();
        let access = Access::new(allow.map(list), list(deny));
        let all = ["10.0.0.1", "10.6.6.6", "192.0.2.1", "2001:db8::1", "unix"];
        let mut all = Vec::from(all);
        all.retain(|client| {
            let client = match *client {
                "unix" => ClientAddress::Unix,
                address => {
                    let address: IpAddr = address.parse().expect("an address");
                    ClientAddress::Tcp(SocketAddr::new(address, 7))
                }
            };
            access.admits(client)
        });
        all
    }

    #[test]
    fn a_list_of_allow_denies_the_rest() {
        assert_eq!(
            admitted(Some(&["10.0.0.0/8"]), &[]),
            ["10.0.0.1", "10.6.6.6"]
        );
        assert_eq!(
            admitted(Some(&["unix", "::/0"]), &[]),
            ["2001:db8::1", "unix"]
        );
        assert_eq!(admitted(Some(&[]), &[]), [""; 0]);
    }

    #[test]
    fn a_list_of_deny_allows_the_rest() {
        assert_eq!(
            admitted(None, &["10.6.6.0/24"]),
            ["10.0.0.1", "192.0.2.1", "2001:db8::1", "unix"]
        );
        assert_eq!(admitted(None, &["unix", "0.0.0.0/0"]), ["2001:db8::1"]);
    }

    #[test]
    fn the_longest_prefix_decides_and_deny_where_both_have_it() {
        assert_eq!(
            admitted(Some(&["10.0.0.0/8"]), &["10.6.6.0/24"]),
            ["10.0.0.1"]
        );
        assert_eq!(
            admitted(Some(&["10.6.6.6/32"]), &["10.0.0.0/8"]),
            ["10.6.6.6"]
        );
        assert_eq!(
            admitted(Some(&["10.0.0.0/8", "unix"]), &["10.0.0.0/8", "unix"]),
            [""; 0]
        );
    }

    proptest! {
        #[test]
        fn it_is_what_a_linear_scan_says(
            allow in prop::option::of(prop::collection::vec((0_u8..16, 0_u8..=6), 0..6)),
            deny in prop::collection::vec((0_u8..16, 0_u8..=6), 0..6),
        ) {
            let network = |&(bits, prefix): &(u8, u8)| {
                let address = Ipv4Addr::from(u32::from(bits) << 26);
                IpNet::new(address.into(), prefix).expect("a prefix").trunc()
            };
            let list = |list: &[(u8, u8)]| list.iter().map(network).collect::<Vec<_>>();
            let (allowed, denied) = (allow.as_deref().map(list), list(&deny));
            let both = |list: &[IpNet]| list.iter().copied().map(Clients::Network).collect::<Vec<_>>();
            let access = Access::new(allowed.as_deref().map(both), both(&denied));
            let allowed = allowed.unwrap_or_default();
            for bits in 0..64_u32 {
                let address = Ipv4Addr::from(bits << 26 | 1);
                let longest = |list: &[IpNet]| {
                    let has = list.iter().filter(|network| network.contains(&IpAddr::from(address)));
                    has.map(IpNet::prefix_len).max()
                };
                let expected = match (longest(&allowed), longest(&denied)) {
                    (None, None) => allow.is_none(),
                    (allowed, denied) => allowed > denied,
                };
                let client = ClientAddress::Tcp(SocketAddr::new(address.into(), 1));
                prop_assert_eq!(access.admits(client), expected, "{}", address);
            }
        }
    }
}
