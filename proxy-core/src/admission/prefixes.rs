//! What the longest prefix of an address says.

use std::net::IpAddr;

use ipnet::IpNet;

/// Values of networks, where the longest prefix decides. It never changes once it is made.
///
/// Networks lie inside each other or apart, so each list of them cuts the addresses into ranges in each of which the same
/// network decides. The ranges are sorted and looked up by halves: 19 comparisons for 100,000 networks, in one array of 4
/// bytes a range for IPv4. A trie has as many steps, each to another place of the memory.
#[derive(Clone, Debug)]
pub struct Prefixes<V> {
    four: Ranges<u32, V>,
    six: Ranges<u128, V>,
}

/// The ranges of one family: each goes from its start to the next one's. None where no network has them.
#[derive(Clone, Debug)]
struct Ranges<A, V> {
    starts: Vec<A>,
    values: Vec<Option<V>>,
}

impl<V: Copy + Eq> Prefixes<V> {
    /// The values of these networks. Where a network is there twice, `choose` says which value it has.
    pub fn new(networks: impl IntoIterator<Item = (IpNet, V)>, choose: impl Fn(V, V) -> V) -> Self {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for (network, value) in networks {
            let (network, family) = match network {
                IpNet::V4(network) => {
                    let (start, end) = (network.network(), network.broadcast());
                    let bounds = (u32::from(start).into(), u32::from(end).into());
                    (bounds, &mut four)
                }
                IpNet::V6(network) => {
                    let (start, end) = (network.network(), network.broadcast());
                    ((start.into(), end.into()), &mut six)
                }
            };
            family.push(Piece { network, value });
        }
        Self {
            four: Ranges::of(four, u32::MAX.into(), &choose, |start| start as u32),
            six: Ranges::of(six, u128::MAX, &choose, |start| start),
        }
    }

    /// The value of the network with the longest prefix that has this address; none if no network has it.
    pub fn find(&self, address: IpAddr) -> Option<V> {
        match address {
            IpAddr::V4(address) => self.four.find(address.into(), |_| {}),
            IpAddr::V6(address) => self.six.find(address.into(), |_| {}),
        }
    }
}

/// A network from its first to its last address.
#[derive(Clone, Copy)]
struct Piece<V> {
    network: (u128, u128),
    value: V,
}

impl<A: Copy + Ord, V: Copy + Eq> Ranges<A, V> {
    /// The ranges that `pieces` cut the addresses up to `last` into.
    fn of(
        mut pieces: Vec<Piece<V>>,
        last: u128,
        choose: impl Fn(V, V) -> V,
        address: impl Fn(u128) -> A,
    ) -> Self {
        // Outer networks come before those in them.
        pieces.sort_by_key(|piece| (piece.network.0, u128::MAX - piece.network.1));
        pieces.dedup_by(|again, piece| {
            let is_same = again.network == piece.network;
            if is_same {
                piece.value = choose(piece.value, again.value);
            }
            is_same
        });
        let mut ranges = Self {
            starts: Vec::new(),
            values: Vec::new(),
        };
        // Those that the place is in, the innermost one last.
        let mut around: Vec<Piece<V>> = Vec::new();
        let close_until = |ranges: &mut Self, around: &mut Vec<Piece<V>>, start: u128| {
            while let Some(closed) = around.pop_if(|inner| inner.network.1 < start) {
                if closed.network.1 < last {
                    let value = around.last().map(|outer| outer.value);
                    ranges.push(address(closed.network.1 + 1), value);
                }
            }
        };
        for piece in pieces {
            close_until(&mut ranges, &mut around, piece.network.0);
            ranges.push(address(piece.network.0), Some(piece.value));
            around.push(piece);
        }
        while let Some(inner) = around.last() {
            let end = inner.network.1;
            let Some(behind) = end.checked_add(1) else {
                break;
            };
            close_until(&mut ranges, &mut around, behind);
        }
        ranges.starts.shrink_to_fit();
        ranges.values.shrink_to_fit();
        ranges
    }

    /// A range begins at `start`, which is not before the last one's.
    fn push(&mut self, start: A, value: Option<V>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last().copied().flatten() != value {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    /// The value of the range that has this address. `on_step` hears of each comparison.
    fn find(&self, address: A, mut on_step: impl FnMut(A)) -> Option<V> {
        let behind = self.starts.partition_point(|&start| {
            on_step(start);
            start <= address
        });
        self.values[behind.checked_sub(1)?]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    /// The last of those with the longest prefix, as the maximum is.
    fn naive(networks: &[(IpNet, u8)], address: IpAddr) -> Option<u8> {
        let has = networks.iter().filter(|(one, _)| one.contains(&address));
        has.max_by_key(|(one, value)| (one.prefix_len(), *value))
            .map(|&(_, value)| value)
    }

    #[test]
    fn the_longest_prefix_decides() {
        let networks = [
            (network("0.0.0.0/0"), 1),
            (network("10.0.0.0/8"), 2),
            (network("10.6.6.0/24"), 3),
            (network("10.6.6.6/32"), 4),
            (network("255.255.255.255/32"), 5),
            (network("2001:db8::/32"), 6),
            (network("ffff::/16"), 7),
        ];
        let prefixes = Prefixes::new(networks, u8::max);
        for (address, value) in [
            ("0.0.0.0", Some(1)),
            ("9.255.255.255", Some(1)),
            ("10.0.0.0", Some(2)),
            ("10.6.5.255", Some(2)),
            ("10.6.6.0", Some(3)),
            ("10.6.6.6", Some(4)),
            ("10.6.6.7", Some(3)),
            ("10.6.7.0", Some(2)),
            ("11.0.0.0", Some(1)),
            ("255.255.255.255", Some(5)),
            ("2001:db7:ffff::", None),
            ("2001:db8::1", Some(6)),
            ("2001:db9::", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(7)),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(prefixes.find(address), value, "{address}");
        }
    }

    #[test]
    fn without_networks_nothing_is_said() {
        let prefixes = Prefixes::<u8>::new([], u8::max);
        assert_eq!(prefixes.find(Ipv4Addr::LOCALHOST.into()), None);
        assert_eq!(prefixes.find(Ipv6Addr::LOCALHOST.into()), None);
    }

    /// So a list of 100,000 costs a connection less than a cache miss a comparison.
    #[test]
    fn a_hundred_thousand_networks_take_nineteen_comparisons() {
        let network = |index: u32| {
            let address = Ipv4Addr::from(index.wrapping_mul(0x9E37_79B9));
            let network = IpNet::new(address.into(), 24 + (index % 9) as u8);
            (network.expect("a prefix").trunc(), (index % 2) as u8)
        };
        let prefixes = Prefixes::new((0..100_000).map(network), u8::max);
        let mut most = 0;
        for address in (0..10_000_u32).map(|index| index.wrapping_mul(429_497)) {
            let mut steps = 0;
            prefixes.four.find(address, |_| steps += 1);
            most = most.max(steps);
        }
        assert!((17..=19).contains(&most), "{most}");
    }

    /// Addresses and networks of so few bits that they meet.
    fn address(four: bool, bits: u8) -> IpAddr {
        if four {
            let bits = u32::from(bits & 0x0f) << 28 | u32::from(bits >> 4);
            Ipv4Addr::from(bits).into()
        } else {
            let bits = u128::from(bits & 0x0f) << 124 | u128::from(bits >> 4);
            Ipv6Addr::from(bits).into()
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_linear_scan_finds(
            networks in prop::collection::vec((any::<bool>(), any::<u8>(), 0_u8..12, any::<u8>()), 0..40),
        ) {
            let networks: Vec<_> = networks
                .into_iter()
                .map(|(four, bits, prefix, value)| {
                    // Short prefixes, and long ones.
                    let bits_max = if four { 32 } else { 128 };
                    let prefix = if prefix < 6 { prefix } else { bits_max - (prefix - 6) };
                    let network = IpNet::new(address(four, bits), prefix).expect("a prefix");
                    (network.trunc(), value)
                })
                .collect();
            let prefixes = Prefixes::new(networks.iter().copied(), u8::max);
            for bits in 0..=u8::MAX {
                for four in [false, true] {
                    let address = address(four, bits);
                    prop_assert_eq!(prefixes.find(address), naive(&networks, address), "{}", address);
                }
            }
            for (network, _) in &networks {
                for address in [network.network(), network.broadcast()] {
                    prop_assert_eq!(prefixes.find(address), naive(&networks, address), "{}", address);
                }
            }
        }
    }
}
