//! Who listens where: no two keys of a file may ask for addresses that overlap.
//!
//! The kernel isn't asked: with SO_REUSEPORT it may let both have their way, and spread connections
//! between them.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::values::address::BindAddress;

/// The addresses that were given away so far: those of each interface, and those of all.
#[derive(Default)]
pub(crate) struct Claims(HashMap<Option<String>, Scope>);

/// Those of one interface, or of all, each with the path of the key that has it.
#[derive(Default)]
struct Scope {
    owners: HashMap<BindAddress, String>,
    /// The first address of each port and family, for those that ask for all of them.
    first: HashMap<(u16, Family), BindAddress>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

impl Claims {
    /// Gives `address` to the key at `path`, for clients that come by `interface` if there is one: others may have it for those
    /// of another interface. Port 0 belongs to everybody, as the kernel chooses a free one.
    ///
    /// # Errors
    ///
    /// The second half of the sentence "`key` is …, which …; …", if somebody has the address or a
    /// part of it.
    pub(crate) fn claim(
        &mut self,
        address: &BindAddress,
        interface: Option<&str>,
        path: &str,
    ) -> Result<(), String> {
        if address.is_chosen_by_kernel() {
            return Ok(());
        }
        let address = &address.plain();
        // The path of a unix socket, or the name of one of systemd's, is nobody's interface's.
        let is_tcp = matches!(address, BindAddress::Tcp(_) | BindAddress::Every(_));
        let interface = interface.filter(|_| is_tcp).map(str::to_owned);
        let is_apart =
            |other: &Option<String>| other.is_some() && interface.is_some() && *other != interface;
        let mut others = self.0.iter().filter(|(other, _)| !is_apart(other));
        others.try_for_each(|(_, scope)| scope.check(address))?;
        self.0.entry(interface).or_default().add(address, path);
        Ok(())
    }
}

impl Scope {
    fn check(&self, address: &BindAddress) -> Result<(), String> {
        if let Some(owner) = self.owners.get(address) {
            return Err(format!("`{owner}` has already; choose another address"));
        }
        if let Some((wider, owner)) = self.wider(address) {
            return Err(format!(
                "is part of \"{wider}\", which `{owner}` has already; remove one of the two, or \
                 choose another port"
            ));
        }
        if let Some((narrower, owner)) = self.narrower(address) {
            return Err(format!(
                "includes \"{narrower}\", which `{owner}` has already; remove one of the two, or \
                 choose another port"
            ));
        }
        Ok(())
    }

    fn add(&mut self, address: &BindAddress, path: &str) {
        for (port, family) in families(address) {
            self.first
                .entry((port, family))
                .or_insert_with(|| address.clone());
        }
        self.owners.insert(address.clone(), path.to_owned());
    }

    /// One that `address` is a part of.
    fn wider(&self, address: &BindAddress) -> Option<(BindAddress, &str)> {
        let BindAddress::Tcp(socket) = address else {
            return None;
        };
        let unspecified = match socket.ip() {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0_u16; 8]),
        };
        [
            BindAddress::Every(socket.port()),
            BindAddress::Tcp((unspecified, socket.port()).into()),
        ]
        .into_iter()
        .find_map(|wider| {
            let owner = self.owners.get(&wider)?;
            Some((wider, owner.as_str()))
        })
    }

    /// One that is a part of `address`.
    fn narrower(&self, address: &BindAddress) -> Option<(&BindAddress, &str)> {
        if matches!(address, BindAddress::Tcp(socket) if !socket.ip().is_unspecified()) {
            return None;
        }
        families(address).find_map(|key| {
            let narrower = self.first.get(&key)?;
            let owner = self.owners.get(narrower)?;
            Some((narrower, owner.as_str()))
        })
    }
}

/// The port of an address, with each of its families.
fn families(address: &BindAddress) -> impl Iterator<Item = (u16, Family)> + use<> {
    let (port, of) = match address {
        BindAddress::Tcp(socket) if socket.is_ipv4() => (socket.port(), &[Family::V4][..]),
        BindAddress::Tcp(socket) => (socket.port(), &[Family::V6][..]),
        BindAddress::Every(port) => (*port, &[Family::V4, Family::V6][..]),
        BindAddress::Unix(_) | BindAddress::Named(_) => (0, &[][..]),
    };
    of.iter().map(move |family| (port, *family))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn bind(text: &str) -> BindAddress {
        match text.strip_prefix("*:") {
            Some(port) => BindAddress::Every(port.parse().unwrap()),
            None => match text.strip_prefix("unix:") {
                Some(path) => BindAddress::Unix(PathBuf::from(path)),
                None => BindAddress::Tcp(text.parse().unwrap()),
            },
        }
    }

    /// Whether one can exist beside the other, whichever comes first.
    fn beside(left: &str, right: &str) -> bool {
        let both = [(left, right), (right, left)].map(|(first, second)| {
            let mut claims = Claims::default();
            claims.claim(&bind(first), None, "first").unwrap();
            claims.claim(&bind(second), None, "second").is_ok()
        });
        assert_eq!(both[0], both[1], "{left} {right}");
        both[0]
    }

    #[test]
    fn addresses_that_overlap_exclude_each_other() {
        for (left, right) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("*:1", "127.0.0.1:1"),
            ("*:1", "[::1]:1"),
            ("*:1", "0.0.0.0:1"),
            ("*:1", "[::]:1"),
            ("*:1", "*:1"),
            ("unix:/a", "unix:/a"),
        ] {
            assert!(!beside(left, right), "{left} {right}");
        }
    }

    #[test]
    fn others_do_not() {
        for (left, right) in [
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("0.0.0.0:1", "[::]:1"),
            ("0.0.0.0:1", "[::1]:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[fe80::1%1]:1", "[fe80::1%2]:1"),
            ("*:1", "*:2"),
            ("*:0", "*:0"),
            ("*:0", "127.0.0.1:0"),
            ("0.0.0.0:0", "127.0.0.1:0"),
            ("unix:/a", "unix:/b"),
            ("unix:/a", "*:1"),
        ] {
            assert!(beside(left, right), "{left} {right}");
        }
    }

    #[test]
    fn an_address_is_shared_by_interfaces() {
        let beside = |left: (&str, Option<&str>), right: (&str, Option<&str>)| {
            let both = [(left, right), (right, left)].map(|(first, second)| {
                let mut claims = Claims::default();
                claims.claim(&bind(first.0), first.1, "first").unwrap();
                claims.claim(&bind(second.0), second.1, "second").is_ok()
            });
            assert_eq!(both[0], both[1], "{left:?} {right:?}");
            both[0]
        };
        assert!(beside(("*:1", Some("eth0")), ("*:1", Some("eth1"))));
        assert!(beside(("*:1", Some("eth0")), ("10.0.0.1:1", Some("eth1"))));
        assert!(!beside(("*:1", Some("eth0")), ("10.0.0.1:1", Some("eth0"))));
        assert!(!beside(("*:1", Some("eth0")), ("*:1", None)));
        let unix = |interface| ("unix:/a", Some(interface));
        assert!(!beside(unix("eth0"), unix("eth1")));
    }

    #[test]
    fn the_owner_is_found_among_many() {
        let mut claims = Claims::default();
        for (address, path) in [("*:1", "a"), ("0.0.0.0:2", "b"), ("[::1]:2", "c")] {
            claims.claim(&bind(address), None, path).unwrap();
        }
        let refused = |claims: &mut Claims, address| {
            let claimed = claims.claim(&bind(address), None, "d");
            claimed.unwrap_err()
        };
        assert!(refused(&mut claims, "10.0.0.1:1").contains("\"*:1\", which `a`"));
        assert!(refused(&mut claims, "10.0.0.1:2").contains("\"0.0.0.0:2\", which `b`"));
        assert!(refused(&mut claims, "[::]:2").contains("\"[::1]:2\", which `c`"));
    }
}
