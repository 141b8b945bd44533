//! A list of networks that are refused, and the addresses in them that clients come from.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Addresses that denied clients come from, each in a network of its own.
const SOURCES_MAX: usize = 64;
/// What the networks are made from: the same ones in each turn.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bits of a network's prefix, from the shortest to the longest.
const PREFIX_BITS: std::ops::RangeInclusive<u64> = 18..=32;

/// Where denied clients come from, in a list of so many networks.
pub(crate) fn sources(entries: usize) -> Vec<Ipv4Addr> {
    (0..entries.min(SOURCES_MAX) as u8)
        .map(|index| Ipv4Addr::new(127, 1, index, 7))
        .collect()
}

/// The networks: those of the [`sources`], /24 each, and any others outside of loopback; in order. `line` is written for each.
pub(super) fn text(entries: usize, line: fn(Ipv4Addr, u64) -> String) -> String {
    let mut networks: BTreeSet<(Ipv4Addr, u64)> = sources(entries)
        .into_iter()
        .map(|source| (network(source.to_bits(), 24), 24))
        .collect();
    let mut state = SEED;
    while networks.len() < entries {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bits =
            PREFIX_BITS.start() + (state >> 32) % (PREFIX_BITS.end() - PREFIX_BITS.start() + 1);
        let network = network(state as u32, bits);
        if !network.is_loopback() && (1..224).contains(&network.octets()[0]) {
            networks.insert((network, bits));
        }
    }
    networks
        .into_iter()
        .fold(String::new(), |mut text, (network, bits)| {
            let _ = writeln!(text, "{}", line(network, bits));
            text
        })
}

fn network(address: u32, bits: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits(address & (u32::MAX << (32 - bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_as_many_networks_and_those_of_the_sources() {
        for entries in [1, 64, 5_000] {
            let text = text(entries, |network, bits| format!("{network}/{bits}"));
            assert_eq!(text.lines().count(), entries);
            for source in sources(entries) {
                let [a, b, c, _] = source.octets();
                assert!(text.contains(&format!("{a}.{b}.{c}.0/24\n")), "{source}");
            }
            assert!(!text.contains("\n127.0."), "probes come from there");
        }
    }
}
