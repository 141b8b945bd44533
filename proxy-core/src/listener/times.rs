//! How long connections may last, and a side of one may say nothing.

use std::time::Duration;

/// The times of a listener besides its idle timeout, none of which there is unless it is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How long the client may say nothing, whatever the server does. It says nothing if its stream is open, and no byte of it
    /// waits for the server.
    pub client_idle: Option<Duration>,
    /// The same of the server.
    pub server_idle: Option<Duration>,
    /// How long a connection goes on after one of its streams has ended.
    pub half_closed: Option<Duration>,
    /// How long it goes on after it was accepted.
    pub lifetime: Option<Lifetime>,
}

/// How long a connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// At most.
    pub max: Duration,
    /// By how many percent of that the connections' own lifetimes are shorter: from none to as many, spread evenly.
    pub jitter: u8,
}

impl Times {
    /// Whether there is any.
    pub(crate) fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

impl Lifetime {
    /// That of the connection with this id, which is always the same.
    pub(crate) fn of(self, id: u64) -> Duration {
        // 2^-64: a number below 1.
        let spread = mix(id) as f64 / (u64::MAX as f64 + 1.0);
        self.max
            .mul_f64(1.0 - f64::from(self.jitter.min(100)) / 100.0 * spread)
    }
}

/// Numbers that follow one another become numbers that are all over the place (the finalizer of SplitMix64).
const fn mix(id: u64) -> u64 {
    let mut z = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_spread_evenly_and_never_longer_than_the_longest() {
        let lifetime = Lifetime {
            max: Duration::from_secs(100),
            jitter: 20,
        };
        let mut tenths = [0; 10];
        for id in 0..10_000 {
            let own = lifetime.of(id);
            assert_eq!(own, lifetime.of(id));
            assert!((80..=100).contains(&own.as_secs()) && own <= lifetime.max);
            tenths[((own.as_secs_f64() - 80.0) / 2.0).min(9.0) as usize] += 1;
        }
        assert!(
            tenths.iter().all(|count| (850..1150).contains(count)),
            "{tenths:?}"
        );
        let exact = Lifetime {
            jitter: 0,
            ..lifetime
        };
        assert_eq!(exact.of(7), exact.max);
    }
}
