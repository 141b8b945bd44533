//! Kinds of values that several tables have.

use std::time::Duration;

use super::super::key::{Kind, Syntax};
use crate::values::duration::DURATION_MAX;

/// A time that ends connections, if there is one.
pub(super) const TIME: Kind = Kind::DurationOrOff {
    min: Duration::from_millis(1),
    max: DURATION_MAX,
};

pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) const UPSTREAM_NAME: Kind = Kind::Text(Syntax {
    what: "name",
    accepted: &["u"],
    refused: &["nobody"],
    pattern: "",
});

/// Networks and addresses, in the words of a key that has one or several.
pub(super) const fn networks(what: &'static str) -> Syntax {
    Syntax {
        what,
        accepted: &["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"],
        refused: &["10.0.0.1/8", "10.0.0.0/33", "localhost", ""],
        pattern: "^[0-9a-fA-F.:]+(/[0-9]+)?$",
    }
}
