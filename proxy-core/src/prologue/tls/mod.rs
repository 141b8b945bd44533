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

pub use alpn::{ALPN_BYTES_MAX, Alpn};
pub use bad::Bad;
pub use hello::ClientHello;
pub use name::SERVER_NAME_BYTES_MAX;
pub use records::{CLIENT_HELLO_BYTES_MAX, HelloParser};
