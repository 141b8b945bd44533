//! The commands beside the proxy: `corelane top`, `corelane ctl`, `corelane compare` and `corelane demo`.
//!
//! They know the configuration and what a proxy shows of itself. Proxies of their own they get from the [`Host`].

mod authority;
mod candidate;
mod clocks;
pub mod compare;
pub mod ctl;
pub mod demo;
#[cfg(test)]
mod fixture;
mod host;
mod machine;
mod target;
pub mod top;

pub use self::authority::Authority;
pub use self::candidate::{Candidate, Evens};
pub use self::host::{Host, NoStart, Proxy};
pub use self::target::{Target, socket_advice};
