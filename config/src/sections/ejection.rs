//! `[upstreams.NAME.ejection]`: leaving servers alone for a while to which connections go wrong.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::raw::section::Section;
use crate::values::percent::Percent;

/// When servers of an upstream are ejected, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// `consecutive_failures`: failures in a row that eject a server.
    pub consecutive_failures: NonZeroU32,
    /// `early`: a server that ends a connection within this time, before it sent a byte, has failed; absent, which is `"off"` in
    /// the file: that is no failure.
    pub early: Option<Duration>,
    /// `slow_factor`: how many times the median of the others a server's mean connect time may be.
    pub slow_factor: NonZeroU32,
    /// `interval`: over which time connect times are compared.
    pub interval: Duration,
    /// `base`: how long the first ejection lasts.
    pub base: Duration,
    /// `max`: how long an ejection lasts at most.
    pub max: Duration,
    /// `largest_share`: which part of the servers may be ejected at a time.
    pub largest_share: Percent,
    /// `panic_threshold`: where less than this part of the servers is available, ejections are ignored.
    pub panic_threshold: Percent,
}

/// Reads the section of an upstream, if it is written.
pub(crate) fn read(upstream: &mut Section<'_>) -> Option<Ejection> {
    upstream.optional_section("ejection", |section| Ejection {
        consecutive_failures: section.value("consecutive_failures"),
        early: section.value("early"),
        slow_factor: section.value("slow_factor"),
        interval: section.value("interval"),
        base: section.value("base"),
        max: section.value("max"),
        largest_share: section.value("largest_share"),
        panic_threshold: section.value("panic_threshold"),
    })
}
