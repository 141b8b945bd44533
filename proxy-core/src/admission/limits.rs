//! How many connections a listener and a source may have, and begin.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::admission::rate::{Meter, Rate};
use crate::admission::source::{Source, SourceConnections};
use crate::admission::source_rates::SourceRates;
use crate::admission::waiting::{Wait, Waiters};
use crate::connection::origin::ClientAddress;
use crate::epoch::Epoch;
use crate::metrics::Rejection;

/// Bits of an address of IPv6 that make a source unless it is configured: what a home or an office gets.
pub const SOURCE_BITS: u8 = 64;

/// How often the log tells of clients that a listener turns away, while it does.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Limits of a listener, as one reading of the configuration has them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of all listeners together; none: as many as come.
    pub process_connections: Option<u64>,
    /// Connections of a source.
    pub source_connections: Option<u64>,
    /// Connections of a peer that announces clients and has not done so yet; none: as many as of a source, unless it is one that
    /// is trusted by its name.
    pub peer_headers: Option<u64>,
    /// Bits of an address of IPv6 that make a source.
    pub source_bits: u8,
    /// Connections that may begin in a time.
    pub rate: Option<Arc<Meter>>,
    /// The same of each source.
    pub source_rate: Option<Arc<SourceRates>>,
    /// What happens to clients beyond them, and to those who are denied.
    pub over: OverLimit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            process_connections: None,
            source_connections: None,
            peer_headers: None,
            source_bits: SOURCE_BITS,
            rate: None,
            source_rate: None,
            over: OverLimit::Close,
        }
    }
}

impl Limits {
    /// The source of a client, where anything depends on it.
    pub(crate) fn source(&self, client: ClientAddress) -> Option<Source> {
        if self.source_connections.is_none() && self.source_rate.is_none() {
            return None;
        }
        Source::of(client, self.source_bits)
    }

    /// The source of a peer that is to announce a client, and how many such connections it may have; none: as many as it likes.
    /// `is_named` says whether it is trusted by its name.
    pub(crate) fn peer(&self, peer: ClientAddress, is_named: bool) -> Option<(Source, u64)> {
        let of_source = self.source_connections.filter(|_| !is_named);
        let max = self.peer_headers.or(of_source)?;
        Some((Source::of(peer, self.source_bits)?, max))
    }
}

/// What happens to a client beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// It is closed in order.
    Close,
    /// It is reset.
    Reset,
    /// It waits to be accepted, where the limit is the listener's or the process's. Whoever is beyond a limit of its own, or
    /// denied, is closed: others would wait behind it.
    Wait,
}

/// Why a client is not taken on now, and whether to wait helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) rejection: Rejection,
    pub(crate) wait: Wait,
}

impl Refused {
    pub(crate) const LISTENER_IS_FULL: Self = Self {
        rejection: Rejection::MaxConnections,
        wait: Wait::ForListener,
    };
    pub(crate) const PROCESS_IS_FULL: Self = Self {
        rejection: Rejection::ProcessConnections,
        wait: Wait::ForProcess,
    };

    /// More come than the rate allows, until that moment.
    pub(crate) fn until(enough_at: Instant) -> Self {
        Self {
            rejection: Rejection::Rate,
            wait: Wait::Until(enough_at),
        }
    }
}

/// Connections of all listeners of a process.
#[derive(Debug, Default)]
pub(crate) struct Total {
    taken: AtomicU64,
    /// Those who wait until they are fewer, or those of a listener are.
    pub(crate) waiters: Arc<Waiters>,
}

impl Total {
    /// Counts one more, unless there are `max` already.
    pub(crate) fn take(&self, max: Option<u64>) -> bool {
        let Some(max) = max else {
            // Without a limit they are counted, too, as there may be one before they end.
            self.taken.fetch_add(1, Relaxed);
            return true;
        };
        let more = |taken| (taken < max).then_some(taken + 1);
        // In one order with who waits: see `Waiters::on_end`.
        self.taken.try_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Whether there are `max`.
    pub(crate) fn is_full(&self, max: Option<u64>) -> bool {
        max.is_some_and(|max| self.taken.load(SeqCst) >= max)
    }

    /// One that was taken is over.
    pub(crate) fn release(&self) {
        self.taken.fetch_sub(1, SeqCst);
    }
}

/// What limits need to know of a listener over every change of its settings.
#[derive(Debug, Default)]
pub struct Counted {
    /// Of the process.
    pub(crate) total: Arc<Total>,
    /// Connections that are open by source. Those that began while there was no limit for them are not among them.
    pub(crate) sources: SourceConnections,
    /// Those whose client is still to be announced, by their peer, where there is a limit for them.
    pub(crate) peers: SourceConnections,
    rate: Mutex<Option<Arc<Meter>>>,
    source_rates: Mutex<Option<Arc<SourceRates>>>,
    epoch: Epoch,
    say_at: AtomicU64,
}

impl Counted {
    pub(crate) fn new(total: Arc<Total>) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// The bucket of the listener's connections: the one that there is if its rate is the same, else a full one.
    pub fn meter(&self, rate: Rate) -> Arc<Meter> {
        let mut kept = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(meter) if meter.rate() == rate => meter.clone(),
            _ => kept.insert(Arc::new(Meter::new(rate))).clone(),
        }
    }

    /// The same for those of its sources.
    pub fn source_rates(&self, rate: Rate) -> Arc<SourceRates> {
        let kept = self.source_rates.lock();
        let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(rates) if rates.rate() == rate => rates.clone(),
            _ => kept.insert(Arc::new(SourceRates::new(rate))).clone(),
        }
    }

    /// The bucket of the listener's connections, if there was one.
    pub(crate) fn kept_meter(&self) -> Option<Arc<Meter>> {
        self.rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Those of its sources.
    pub(crate) fn kept_source_rates(&self) -> Option<Arc<SourceRates>> {
        let kept = self.source_rates.lock();
        kept.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sources that have connections, where there is a limit for them.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Whether the log is to tell of a client that is turned away now: not more often than it helps.
    pub(crate) fn is_told(&self, now: Instant) -> bool {
        let at = self.epoch.note(now);
        let say_at = self.say_at.load(Relaxed);
        let next = at + SAID_EVERY.as_nanos() as u64;
        at >= say_at
            && self
                .say_at
                .compare_exchange(say_at, next, Relaxed, Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::origin;

    #[test]
    fn a_rate_that_stays_goes_on_and_another_one_begins_full() {
        let (counted, now) = (Counted::default(), origin());
        let rate = Rate::of_connections(1, 2);
        counted.meter(rate).take(now, 1).expect("it is full");
        let same = counted.meter(rate);
        same.take(now, 1).expect("one is left");
        same.take(now, 1).expect_err("none is left");
        let other = counted.meter(Rate::of_connections(1, 3));
        assert!((0..3).all(|_| other.take(now, 1).is_ok()));
        let rates = counted.source_rates(rate);
        assert!(Arc::ptr_eq(&rates, &counted.source_rates(rate)));
    }

    #[test]
    fn the_log_is_told_every_ten_seconds() {
        let (counted, begin) = (Counted::default(), origin());
        let told = (0..30_000)
            .filter(|&milliseconds| counted.is_told(begin + Duration::from_millis(milliseconds)));
        assert_eq!(told.count(), 3);
    }

    #[test]
    fn a_process_has_a_limit_of_all_its_listeners() {
        let total = Arc::new(Total::default());
        let listeners = [0, 1].map(|_| Counted::new(total.clone()));
        assert!(listeners[0].total.take(None));
        assert!(listeners[1].total.take(Some(2)));
        assert!(!listeners[0].total.take(Some(2)));
        listeners[1].total.release();
        assert!(listeners[0].total.take(Some(2)));
    }
}
