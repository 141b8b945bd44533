//! What the tests stand on: the proxy under test, scripted peers, child processes, bytes with a hash.

pub(crate) mod browser;
pub(crate) mod bytes;
pub(crate) mod change;
pub(crate) mod child;
pub(crate) mod config;
pub(crate) mod halt;
pub(crate) mod hang;
pub(crate) mod heirs;
pub(crate) mod hello;
pub(crate) mod http;
pub(crate) mod limit;
pub(crate) mod listening;
pub(crate) mod metrics;
pub(crate) mod network;
pub(crate) mod peer;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod restrict;
pub(crate) mod scheduler;
pub(crate) mod strace;
pub(crate) mod terminal;
pub(crate) mod unit;
pub(crate) mod wait;
