//! Where a connection goes.
//!
//! It is decided once, by what is known of the connection: after the prologue, or at its first turn where there is none. A
//! listener without routes sends all connections to its upstream, and nothing is asked. With [`Routes`] the first one that
//! suits takes a connection: names are looked up, and only routes without a name are looked at one by one.

pub(crate) mod facts;
mod names;
mod routes;
mod split;
pub(crate) mod taken;
#[cfg(test)]
mod tests;
mod view;

pub use self::facts::Facts;
pub use self::names::NamePattern;
pub use self::routes::{ROUTES_MAX, Rest, RouteSettings, Routes};
pub use self::taken::{ROUTE_NAMES_KEPT_MAX, Route, RouteNames};
pub use self::view::{RouteTarget, RouteView};

use crate::metrics::Rejection;

/// The place of a pool among those that a listener sends connections to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination(pub(crate) u16);

impl Destination {
    /// The listener's own upstream.
    pub const DEFAULT: Self = Self(0);
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to this pool.
    To(Destination),
    /// It is refused.
    Reject(Rejection),
}
