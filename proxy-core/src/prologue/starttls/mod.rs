//! Protocols that begin in the clear and change to TLS: the proxy speaks that beginning itself, on both sides.
//!
//! The client's side ([`ClientSide`]) ends before the ClientHello, which says where the connection goes. Then the
//! server's side ([`ServerSide`]) is spoken with the server, and from the ClientHello on bytes are forwarded.

mod bad;
mod client;
mod imap;
mod line;
mod postgres;
mod server;
mod smtp;
mod step;
#[cfg(test)]
mod tests;

pub use bad::Bad;
pub use client::ClientSide;
pub use server::ServerSide;
pub use step::Next;

/// Bytes that a line can have, with its CRLF: those of SMTP (RFC 5321).
pub const LINE_BYTES_MAX: usize = 512;

/// Bytes that a client may send before its ClientHello.
pub const CLIENT_BYTES_MAX: usize = 4 * 1024;
/// Commands that a client may send before it wants TLS.
pub const COMMANDS_MAX: usize = 16;
/// Bytes that a server may send before it takes the ClientHello.
pub const SERVER_BYTES_MAX: usize = 8 * 1024;

/// A protocol that changes to TLS after it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PostgreSQL: SSLRequest.
    Postgres,
    /// SMTP: STARTTLS (RFC 3207).
    Smtp,
    /// IMAP: STARTTLS (RFC 9051).
    Imap,
}
