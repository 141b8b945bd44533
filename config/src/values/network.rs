//! Networks: `"10.0.0.0/8"`, or one address.

use std::net::IpAddr;

use ipnet::IpNet;
use toml::de::DeValue;

use crate::problems::refusal::Refusal;
use crate::raw::read::string;

const EXPECTED: &str = "a network such as \"10.0.0.0/8\", or an address";

/// Reads a network.
pub(crate) fn network(value: &DeValue<'_>) -> Result<IpNet, Refusal> {
    let written = string(value, EXPECTED)?;
    parse(written).map_err(|advice| Refusal::new(EXPECTED, value).advise(advice))
}

/// A network as it is written, or what to write instead.
pub(crate) fn parse(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>();
    let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network =
        network.map_err(|_| "write a network as in 10.0.0.0/8 or 2001:db8::/32".to_owned())?;
    if network != network.trunc() {
        let (network, host) = (network.trunc(), network.addr());
        return Err(format!(
            "it has bits behind its prefix: did you mean {network}, or {host} alone?"
        ));
    }
    Ok(canonical(network))
}

/// A network of IPv4 that is written as one of IPv6 (`::ffff:10.0.0.0/104`) is one of IPv4: so are its clients' addresses.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(six) = network else {
        return network;
    };
    let four = six.addr().to_ipv4_mapped();
    let four = four.zip(six.prefix_len().checked_sub(MAPPED_BITS));
    four.and_then(|(address, bits)| IpNet::new(address.into(), bits).ok())
        .unwrap_or(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_they_are_written() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::/0", "::/0"),
        ] {
            let parsed = parse(text).map(|network| network.to_string());
            assert_eq!(parsed.as_deref(), Ok(network));
        }
        for text in ["10.0.0.0/33", "localhost", "", "10.0.0.0/8 ", "10/8"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let advice = parse("10.0.0.1/8").expect_err("bits behind the prefix");
        assert!(
            advice.contains("did you mean 10.0.0.0/8, or 10.0.0.1 alone?"),
            "{advice}"
        );
    }
}
