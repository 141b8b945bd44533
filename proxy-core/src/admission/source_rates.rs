//! How many connections each source may begin in a time.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Instant;

use crate::admission::rate::Rate;
use crate::admission::source::{SHARDS, Sharded, Source};
use crate::epoch::Epoch;

/// Sources of a listener whose buckets are remembered, at most; some 8 MB of memory. A full bucket needs no memory. Under a
/// flood of more sources than this, those are forgotten whose buckets are nearest to full: they lose the least. A source that
/// is at its limit is the last to be forgotten.
pub const SOURCES_MAX: usize = 1 << 16;

const SHARD_SOURCES_MAX: usize = SOURCES_MAX / SHARDS;

/// Full buckets that are forgotten for each one that is touched, so that memory shrinks when a flood is over.
const FORGOTTEN_AT_A_TIME: usize = 2;

/// A bucket for each source.
#[derive(Debug)]
pub struct SourceRates {
    rate: Rate,
    epoch: Epoch,
    shards: Sharded<Shard>,
}

/// Buckets that are not full, by when they are full again.
#[derive(Debug, Default)]
struct Shard {
    full_at: HashMap<Source, u64>,
    order: BTreeSet<(u64, Source)>,
}

impl SourceRates {
    /// Full buckets.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            epoch: Epoch::default(),
            shards: Sharded::default(),
        }
    }

    /// How fast each fills.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a connection of a source, if its bucket has one.
    pub(crate) fn take(&self, now: Instant, source: Source) -> bool {
        let at = self.epoch.note(now);
        let mut shard = self.shards.of(source);
        shard.forget_full(at);
        let full_at = shard.full_at.get(&source).copied().unwrap_or(0);
        let taken = self.rate.take(full_at, at, 1);
        if let Ok(full_at) = taken {
            shard.set(source, full_at);
        }
        taken.is_ok()
    }

    /// Puts back what was taken and isn't needed.
    pub(crate) fn put_back(&self, source: Source) {
        let mut shard = self.shards.of(source);
        if let Some(&full_at) = shard.full_at.get(&source) {
            shard.set(source, full_at.saturating_sub(self.rate.cost(1)));
        }
    }

    /// Sources whose buckets are not full, and when each is, those first that lack the most; `most` at most.
    pub(crate) fn lacking(&self, most: usize, now: Instant) -> Vec<(Source, Instant)> {
        let at = self.epoch.until(now);
        let mut all = Vec::new();
        self.shards.each(|shard| {
            let lacking = shard
                .order
                .range((Bound::Excluded((at, Source::LAST)), Bound::Unbounded));
            all.extend(lacking.copied());
        });
        all.sort_by(|one, other| other.cmp(one));
        all.truncate(most);
        let moment = |(full_at, source)| Some((source, self.epoch.moment(full_at)?));
        all.into_iter().filter_map(moment).collect()
    }

    /// A source's bucket is full again at that moment, as another process has left it.
    pub(crate) fn go_on(&self, source: Source, full_at: Instant, now: Instant) {
        let at = self.epoch.note(now);
        let lacking = full_at.saturating_duration_since(now).as_nanos();
        let lacking = u64::try_from(lacking).unwrap_or(u64::MAX);
        let full_at = at.saturating_add(lacking.min(self.rate.capacity()));
        let mut shard = self.shards.of(source);
        if shard
            .full_at
            .get(&source)
            .is_none_or(|&known| known < full_at)
        {
            shard.set(source, full_at);
        }
    }

    /// Sources that are remembered.
    pub fn len(&self) -> usize {
        self.shards.sum(|shard| shard.full_at.len())
    }

    /// Whether no source is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    fn set(&mut self, source: Source, full_at: u64) {
        match self.full_at.insert(source, full_at) {
            Some(before) => {
                self.order.remove(&(before, source));
            }
            None if self.full_at.len() > SHARD_SOURCES_MAX => self.forget_fullest(),
            None => {}
        }
        self.order.insert((full_at, source));
    }

    fn forget_full(&mut self, now: u64) {
        for _ in 0..FORGOTTEN_AT_A_TIME {
            let is_full = |(full_at, _): &&(u64, Source)| *full_at <= now;
            if self.order.first().filter(is_full).is_none() {
                break;
            }
            self.forget_fullest();
        }
    }

    fn forget_fullest(&mut self) {
        if let Some((_, source)) = self.order.pop_first() {
            self.full_at.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::*;
    use crate::admission::rate::Meter;
    use crate::connection::origin::ClientAddress;
    use crate::epoch::origin;

    fn source(bits: u32) -> Source {
        let address = SocketAddr::new(Ipv4Addr::from(bits).into(), 7);
        Source::of(ClientAddress::Tcp(address), 64).expect("it has an address")
    }

    #[test]
    fn a_flood_of_a_million_sources_keeps_memory_bounded_and_limits_in_force() {
        let (rates, begin) = (SourceRates::new(Rate::of_connections(1, 10)), origin());
        // One that has used all that it has.
        let greedy = source(u32::MAX);
        let taken = (0..100).filter(|_| rates.take(begin, greedy)).count();
        assert_eq!(taken, 10);
        let mut most = 0;
        for bits in 0..1_000_000 {
            let now = begin + Duration::from_nanos(bits.into());
            assert!(rates.take(now, source(bits)));
            if bits % 10_000 == 0 {
                most = most.max(rates.len());
                assert!(!rates.take(now, greedy), "it is not forgotten");
            }
        }
        assert!(most <= SOURCES_MAX, "{most}");
        // When the flood is over, what is remembered of it goes.
        let later = begin + Duration::from_secs(60);
        for bits in 0..100_000 {
            rates.take(later, source(bits % 6_400));
        }
        assert!(rates.len() <= 6_400, "{}", rates.len());
    }

    proptest! {
        #[test]
        fn each_source_has_a_bucket_of_its_own(
            events in prop::collection::vec((0_u32..5, 0_u64..400), 1..300),
            per_second in 1_u64..20,
            burst in 1_u64..5,
        ) {
            let rate = Rate::of_connections(per_second, burst);
            let (rates, mut now) = (SourceRates::new(rate), origin());
            let meters: Vec<_> = (0..5).map(|_| Meter::new(rate)).collect();
            for (one, milliseconds) in events {
                now += Duration::from_millis(milliseconds);
                let expected = meters[one as usize].take(now, 1).is_ok();
                prop_assert_eq!(rates.take(now, source(one)), expected);
            }
        }
    }
}
