//! Ranges of addresses.

use std::net::IpAddr;

/// The addresses that begin with the same bits (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

/// A few of them, of which each is compared: for lists that people write by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnets(Box<[Subnet]>);

impl Subnet {
    /// The addresses that have the first `bits` bits of `address`. Of more bits than it has, all count.
    ///
    /// An IPv4 address that is written as one of IPv6 is not taken for one of IPv4: who has such ones writes it as such.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        let width = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            bits: bits.min(width),
        }
    }

    /// The address that it was made of.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many of its bits count.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether an address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                let differing = one.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= bits
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                let differing = one.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= bits
            }
            _ => false,
        }
    }
}

impl Subnets {
    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|subnet| subnet.contains(address))
    }
}

impl FromIterator<Subnet> for Subnets {
    fn from_iter<I: IntoIterator<Item = Subnet>>(subnets: I) -> Self {
        Self(subnets.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_it_by_its_first_bits() {
        for (subnet, bits, address, is_in) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.0", false),
            ("10.0.0.128", 25, "10.0.0.127", false),
            ("10.0.0.1", 32, "10.0.0.1", true),
            ("10.0.0.1", 32, "10.0.0.0", false),
            ("0.0.0.0", 0, "255.255.255.255", true),
            ("0.0.0.0", 0, "::1", false),
            ("::", 0, "2001:db8::1", true),
            ("::", 0, "10.0.0.1", false),
            ("2001:db8::", 32, "2001:db8:ffff::", true),
            ("2001:db8::", 32, "2001:db9::", false),
            ("::1", 255, "::1", true),
            ("::1", 255, "::2", false),
        ] {
            let parse = |text: &str| text.parse().expect("an address");
            let subnet = Subnet::new(parse(subnet), bits);
            assert_eq!(
                subnet.contains(parse(address)),
                is_in,
                "{address} in {subnet:?}"
            );
        }
    }
}
