//! `[upstreams.NAME.ejection]`.

use std::time::Duration;

use super::super::key::{Key, Kind, Table};
use super::values::HOUR;
use crate::values::duration::DURATION_MAX;

pub(crate) static EJECTION: Table = Table {
    path: "upstreams.NAME.ejection",
    about: "Ejection: a server to which connections go wrong is left alone for a while, by what traffic meets, whatever its checks \
        say. Without the section nobody is ejected. A server that is ejected gets connections only when all others are down or \
        ejected, or have failed to take the one at hand. A check that passes ends an ejection at once: where checks only connect, \
        a server that takes connections and drops them is back with the next one. See [Inside](inside.md#ejection).",
    keys: &[
        Key::new(
            "consecutive_failures",
            Kind::Integer { min: 1, max: 1000 },
            "5",
            "failures in a row that eject a server: connects that fail, until one works; or connections that it ends early, until it \
             sends a byte. All cores count together",
        ),
        Key::new(
            "early",
            Kind::DurationOrOff {
                min: Duration::from_millis(1),
                max: HOUR,
            },
            "\"1s\"",
            "a server that resets or closes a connection within this time, before it sent a byte and before the client ended its \
             stream, has failed; `\"off\"`: that is no failure",
        ),
        Key::new(
            "slow_factor",
            Kind::Integer { min: 2, max: 1000 },
            "10",
            "a server is ejected whose connects take, on average over `interval`, more than so many times the median of the other \
             servers' averages, and 20 ms more. Servers with fewer than 10 connects that worked aren't compared, and at least two \
             others are needed",
        ),
        Key::new(
            "interval",
            Kind::Duration {
                min: Duration::from_millis(100),
                max: HOUR,
            },
            "\"10s\"",
            "how often connect times are compared. For each such time that passes after an ejection, one ejection is forgotten",
        ),
        Key::new(
            "base",
            Kind::Duration {
                min: Duration::from_millis(10),
                max: DURATION_MAX,
            },
            "\"30s\"",
            "how long a server's first ejection lasts; the second one lasts twice as long, the third one three times",
        ),
        Key::new(
            "max",
            Kind::Duration {
                min: Duration::from_millis(10),
                max: DURATION_MAX,
            },
            "\"300s\"",
            "how long an ejection lasts at most; `base` at least",
        ),
        Key::new(
            "largest_share",
            Kind::Percent { max: 100 },
            "\"10%\"",
            "which part of the servers may be ejected at a time, rounded down; one always may",
        ),
        Key::new(
            "panic_threshold",
            Kind::Percent { max: 100 },
            "\"50%\"",
            "where less than this part of the servers is neither down nor ejected, servers that are ejected are tried like the \
             others: then it is not one server that is bad. `\"0%\"`: never",
        ),
    ],
};
