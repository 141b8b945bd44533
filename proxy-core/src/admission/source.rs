//! Where clients come from, as limits by source see it.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::hash::BuildHasher;
use std::net::{AddrParseError, IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_utils::CachePadded;

use crate::connection::origin::ClientAddress;

/// Parts that sources are split into, each with a lock of its own.
pub(crate) const SHARDS: usize = 64;

/// A source: an address of IPv4, or the first bits of one of IPv6. Who has a network of IPv6 has as many addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Source(IpAddr);

impl Source {
    /// The last one in their order.
    pub(crate) const LAST: Self = Self(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));

    /// The source of a client, by so many bits of IPv6. Clients of unix sockets have none.
    pub(crate) fn of(client: ClientAddress, six_bits: u8) -> Option<Self> {
        match client {
            ClientAddress::Tcp(address) => Some(Self(match address.ip() {
                four @ IpAddr::V4(_) => four,
                IpAddr::V6(six) => {
                    let behind = 128_u32.saturating_sub(six_bits.into());
                    let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
                    Ipv6Addr::from_bits(six.to_bits() & mask).into()
                }
            })),
            ClientAddress::Unix => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Source {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse().map(Self)
    }
}

/// Values by source, in parts that are locked one at a time: once a connection, for less than a microsecond.
#[derive(Debug)]
pub(crate) struct Sharded<T> {
    shards: OnceLock<Box<[CachePadded<Mutex<T>>]>>,
    /// Nobody can choose addresses that share a part.
    hasher: RandomState,
}

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self {
            shards: OnceLock::new(),
            hasher: RandomState::new(),
        }
    }
}

impl<T: Default> Sharded<T> {
    /// The part that a source is in.
    pub(crate) fn of(&self, source: Source) -> MutexGuard<'_, T> {
        let make = || (0..SHARDS).map(|_| CachePadded::default()).collect();
        let shards = self.shards.get_or_init(make);
        let shard = &shards[self.hasher.hash_one(source) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows each part.
    pub(crate) fn each(&self, mut show: impl FnMut(&T)) {
        for shard in self.shards.get().into_iter().flatten() {
            show(&shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The sum of what `read` takes from each part.
    pub(crate) fn sum(&self, read: impl Fn(&T) -> usize) -> usize {
        let shards = self.shards.get().into_iter().flatten();
        shards
            .map(|shard| read(&shard.lock().unwrap_or_else(PoisonError::into_inner)))
            .sum()
    }
}

/// Connections that are open by source: exact, over all workers. It has sources with open connections only, so it is no larger
/// than these are many.
#[derive(Debug, Default)]
pub(crate) struct SourceConnections(Sharded<HashMap<Source, u64>>);

impl SourceConnections {
    /// Counts one more connection of a source, unless it has `max` already.
    pub(crate) fn take(&self, source: Source, max: u64) -> bool {
        let mut shard = self.0.of(source);
        let open = shard.get(&source).copied().unwrap_or(0);
        let takes = open < max;
        if takes {
            shard.insert(source, open + 1);
        }
        takes
    }

    /// One that was taken is over.
    pub(crate) fn release(&self, source: Source) {
        let mut shard = self.0.of(source);
        if let Entry::Occupied(mut open) = shard.entry(source) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// Sources that have connections, and how many.
    pub(crate) fn all(&self) -> Vec<(Source, u64)> {
        let mut all = Vec::new();
        self.0.each(|shard| {
            all.extend(shard.iter().map(|(&source, &open)| (source, open)));
        });
        all.sort_unstable();
        all
    }

    /// Sources that have connections.
    pub(crate) fn len(&self) -> usize {
        self.0.sum(HashMap::len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::net::SocketAddr;

    use super::*;

    fn source(address: &str, six_bits: u8) -> Source {
        let address: IpAddr = address.parse().expect("an address");
        let client = ClientAddress::Tcp(SocketAddr::new(address, 7));
        Source::of(client, six_bits).expect("it has an address")
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        assert_eq!(source("2001:db8::1", 64), source("2001:db8::ffff", 64));
        assert_ne!(source("2001:db8::1", 64), source("2001:db8:0:1::1", 64));
        assert_eq!(source("2001:db8::1", 48), source("2001:db8:0:1::1", 48));
        assert_ne!(source("2001:db8::1", 128), source("2001:db8::2", 128));
        assert_eq!(source("2001:db8::1", 0), source("::2", 0));
        assert_ne!(source("10.0.0.1", 1), source("10.0.0.2", 1));
        assert_eq!(Source::of(ClientAddress::Unix, 64), None);
    }

    proptest! {
        #[test]
        fn connections_are_counted_exactly(
            events in prop::collection::vec((any::<bool>(), 0_u8..8), 0..200),
            max in 1_u64..5,
        ) {
            let (counts, mut model) = (SourceConnections::default(), [0_u64; 8]);
            for (begins, last) in events {
                let source = source(&format!("10.0.0.{last}"), 64);
                let open = &mut model[usize::from(last)];
                if begins {
                    prop_assert_eq!(counts.take(source, max), *open < max);
                    *open = max.min(*open + 1);
                } else if *open > 0 {
                    counts.release(source);
                    *open -= 1;
                }
                prop_assert_eq!(counts.len(), model.iter().filter(|open| **open > 0).count());
            }
        }
    }
}
