//! Values with a syntax of their own.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod address;
pub(crate) mod cores;
pub(crate) mod dscp;
pub(crate) mod duration;
pub(crate) mod expected;
pub(crate) mod network;
pub(crate) mod percent;
pub(crate) mod ports;
pub(crate) mod seconds;
pub(crate) mod server_name;
pub(crate) mod size;
pub(crate) mod statuses;
pub(crate) mod template;
