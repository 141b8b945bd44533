//! The tables of a file, one each.

pub(crate) mod access_log;
pub(crate) mod admin;
pub(crate) mod admission;
pub(crate) mod agent;
pub(crate) mod balance;
pub(crate) mod discovery;
pub(crate) mod ejection;
pub(crate) mod health;
pub(crate) mod listener;
pub(crate) mod names;
pub(crate) mod proxy_protocol;
pub(crate) mod route;
pub(crate) mod runtime;
pub(crate) mod socket;
pub(crate) mod times;
pub(crate) mod upstream;
