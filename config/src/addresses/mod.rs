//! Whether addresses go together: who listens where, and who would connect to itself.

pub(crate) mod announced;
pub(crate) mod claims;
pub(crate) mod loops;
pub(crate) mod unused_options;
pub(crate) mod unused_servers;
