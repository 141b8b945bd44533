//! What a client says before it has a server: pure, bounded parsers, without a socket and without a clock.

mod parsed;
pub mod proxy_protocol;
pub mod starttls;
pub mod tls;

pub use parsed::Parsed;
