//! `[upstreams.NAME.health]`: asking servers whether they still take connections.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::duration::duration;
use crate::section::Section;
use crate::value::integer;

/// The options of an upstream's health checks: a connect to each server, closed as soon as it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `interval`: how often each server is checked, from 100 ms to 1 h. Default `"2s"`.
    pub interval: Duration,
    /// `timeout`: how long a server's address may take to accept the check's connection, from 1 ms to 10 s. A check that
    /// takes longer than the interval is followed by the next one at its next turn. Default `"1s"`.
    pub timeout: Duration,
    /// `rise`: checks in a row that must pass until a server that is down is up, from 1 to 100. Default 2.
    pub rise: NonZeroU32,
    /// `fall`: checks in a row that must fail until a server that is up is down, from 1 to 100. Default 3.
    pub fall: NonZeroU32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: NonZeroU32::new(2).unwrap(),
            fall: NonZeroU32::new(3).unwrap(),
        }
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=HOUR;
/// Servers that don't answer take up the checks that may be under way, of all upstreams: not for long.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
const IN_A_ROW_MAX: u64 = 100;

/// Reads the section of an upstream, if it is written.
pub(crate) fn read(upstream: &mut Section<'_>) -> Option<Health> {
    Some(upstream.node("health")?.section(read_section))
}

fn read_section(section: &mut Section<'_>) -> Health {
    let default = Health::default();
    let in_a_row = 1..=IN_A_ROW_MAX;
    Health {
        interval: section.or("interval", default.interval, |value| {
            duration(value, INTERVALS)
        }),
        timeout: section.or("timeout", default.timeout, |value| {
            duration(value, TIMEOUTS)
        }),
        rise: section.or("rise", default.rise, |value| {
            integer(value, in_a_row.clone())
        }),
        fall: section.or("fall", default.fall, |value| integer(value, in_a_row)),
    }
}
