//! What a client says before it has a server: pure, bounded parsers, without a socket and without a clock.

mod parsed;
pub mod proxy_protocol;

pub use parsed::Parsed;
