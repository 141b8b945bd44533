//! The PROXY protocol, in and out: doc/proxy-protocol.txt of HAProxy.
//!
//! The crates that exist leave out what matters here: `ppp` checks no CRC32C and takes "+80" for a port, and
//! `proxy-header` knows no unix addresses.

mod addresses;
mod bad;
mod checksum;
#[cfg(test)]
mod tests;
pub mod tlv;
mod v1;
mod v2;
mod write;

pub use addresses::{Addresses, UNIX_PATH_BYTES};
pub use bad::Bad;
pub use tlv::{Tlv, Tlvs};
pub use write::{Full, V2Writer, write_v1};

use super::Parsed;

/// Bytes that a line of version 1 can have, with its CRLF: the longest one that the protocol allows.
pub const V1_BYTES_MAX: usize = 107;

/// Bytes that a header of version 2 can have here. The protocol allows 64 KiB; HAProxy takes 16 KiB by default, too.
pub const V2_BYTES_MAX: usize = 16 * 1024;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary, with TLVs.
    V2,
}

/// A header as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The version that it was written in.
    pub version: Version,
    /// What it says about the ends of the connection.
    pub addresses: Addresses<'a>,
    /// Whether the client speaks UDP, or has a datagram socket, with who announces it.
    pub is_datagram: bool,
    /// What it says besides. A header of version 1 has none.
    pub tlvs: Tlvs<'a>,
}

/// Reads a header of either version at the beginning of `received`.
///
/// Holds no state: as long as the answer is `More`, a call costs at most a look at [`V1_BYTES_MAX`] bytes, so bytes
/// that come one by one cost time in proportion to their number.
pub fn parse(received: &[u8]) -> Parsed<Header<'_>, Bad> {
    match received.first() {
        None => Parsed::More,
        Some(first) if *first == v1::PREFIX[0] => v1::parse(received),
        Some(_) => v2::parse(received),
    }
}

/// Whether this is a header beyond doubt, whole or not: no protocol that a client may speak begins like this.
pub fn is_begun(received: &[u8]) -> bool {
    received.starts_with(v1::PREFIX) || received.starts_with(&v2::SIGNATURE)
}

/// Whether `received` begins with `expected`, as far as it goes.
fn agrees(received: &[u8], expected: &[u8]) -> bool {
    received
        .iter()
        .zip(expected)
        .all(|(byte, expected)| byte == expected)
}
