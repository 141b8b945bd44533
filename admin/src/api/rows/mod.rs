//! What the API shows, as JSON.

pub(crate) mod connections;
pub(crate) mod listeners;
pub(crate) mod process;
pub(crate) mod schedulers;
pub(crate) mod servers;
pub(crate) mod upstreams;
