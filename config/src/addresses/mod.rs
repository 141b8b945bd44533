//! What goes together, and what does not: who listens where, who would connect to itself, and what is of no use beside the rest.

pub(crate) mod announced;
pub(crate) mod claims;
pub(crate) mod loops;
pub(crate) mod unreachable_routes;
pub(crate) mod unused_balance;
pub(crate) mod unused_keys;
pub(crate) mod unused_options;
pub(crate) mod unused_servers;
