//! The ClientHello: what a TLS client says in the clear, read without ending TLS (RFC 8446, RFC 6066, RFC 7301).
//!
//! `tls-parser` wants a message in one piece, and rustls' acceptor keeps a copy of its own, refuses hellos that
//! it could not answer itself, and brings a whole TLS stack.

mod alpn;
mod bad;
mod hello;
mod name;
mod reader;
mod records;
#[cfg(test)]
mod tests;

pub use alpn::Alpn;
pub use bad::Bad;
pub use hello::ClientHello;
pub use records::HelloParser;

/// Bytes that an ALPN list can have here, lengths included. Browsers send 14.
pub const ALPN_BYTES_MAX: usize = 1024;

/// Bytes that a server name can have, as in DNS, without the dot at its end.
pub const SERVER_NAME_BYTES_MAX: usize = 253;

/// Bytes that a ClientHello can have, the headers of its records included. With post-quantum keys it has 2 KiB.
pub const CLIENT_HELLO_BYTES_MAX: usize = 64 * 1024;
