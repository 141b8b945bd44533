//! What a connection has that the same server is chosen for.

use std::net::IpAddr;

use crate::connection::origin::ClientAddress;
use crate::connection::record::Record;
use crate::upstream::policy::hash::{self, mix};
use crate::upstream::policy::{Balance, HashOn};
use crate::upstream::pool::PoolSettings;

/// The hash of what a pool goes by; zero where it goes by none.
pub(super) fn hash(settings: &PoolSettings, record: &Record) -> u64 {
    if settings.balance != Balance::SourceHash {
        return 0;
    }
    let named = match settings.hash_on {
        HashOn::Peer => return of_address(record.peer(), record),
        HashOn::Source => None,
        HashOn::Sni => record.facts().and_then(|facts| facts.sni.as_deref()),
    };
    match named {
        Some(name) => hash::hash(name.as_bytes()),
        None => of_address(record.client(), record),
    }
}

fn of_address(address: ClientAddress, record: &Record) -> u64 {
    match address {
        ClientAddress::Tcp(address) => match address.ip().to_canonical() {
            IpAddr::V4(ip) => hash::hash(&ip.octets()),
            IpAddr::V6(ip) => hash::hash(&ip.octets()),
        },
        // Nobody is told from another: they are spread.
        ClientAddress::Unix => mix(record.id()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::connection::origin::Origin;
    use crate::route::Facts;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn record(id: u64, peer: &str, client: &str, sni: Option<&str>) -> Record {
        let address = |text: &str| match text.parse::<SocketAddr>() {
            Ok(address) => ClientAddress::Tcp(address),
            Err(_) => ClientAddress::Unix,
        };
        let origin = Origin {
            peer: address(peer),
            accepted_at: Instant::now(),
        };
        let mut facts = Facts::of(origin);
        facts.client = address(client);
        facts.sni = sni.map(Into::into);
        Record::new(id, origin, 0, true).with(Arc::new(facts))
    }

    fn of(hash_on: HashOn, record: &Record) -> u64 {
        let settings = PoolSettings {
            balance: Balance::SourceHash,
            hash_on,
            ..PoolSettings::default()
        };
        hash(&settings, record)
    }

    #[test]
    fn what_is_configured_is_hashed_and_nothing_else() {
        let peer = "10.0.0.1:1";
        let one = record(1, peer, "10.0.0.2:5", Some("a.example"));
        let same_client = record(2, "10.0.0.9:1", "[::ffff:10.0.0.2]:6", Some("b.example"));
        let same_peer = record(3, "10.0.0.1:9", "10.0.0.3:5", Some("a.example"));
        let source = |record: &Record| of(HashOn::Source, record);
        assert_eq!(source(&one), source(&same_client));
        assert_ne!(source(&one), source(&same_peer));
        assert_eq!(of(HashOn::Peer, &one), of(HashOn::Peer, &same_peer));
        assert_ne!(of(HashOn::Peer, &one), of(HashOn::Peer, &same_client));
        assert_eq!(of(HashOn::Sni, &one), of(HashOn::Sni, &same_peer));
        assert_ne!(of(HashOn::Sni, &one), of(HashOn::Sni, &same_client));
        let nameless = record(4, peer, "10.0.0.2:7", None);
        assert_eq!(
            of(HashOn::Sni, &nameless),
            source(&one),
            "it is known by its address"
        );
        let unix = [5, 6].map(|id| source(&record(id, "unix", "unix", None)));
        assert_ne!(unix[0], unix[1], "they are spread");
        assert_eq!(hash(&PoolSettings::default(), &one), 0);
    }
}
