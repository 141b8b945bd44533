//! Why a header is refused.

use thiserror::Error;

use super::{V1_BYTES_MAX, V2_BYTES_MAX};

/// What is wrong with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Bad {
    /// Version 1: no CRLF in the bytes that a line can have.
    #[error("no end of line within {V1_BYTES_MAX} bytes")]
    LineTooLong,
    /// Version 1: a CR or an LF that stands alone.
    #[error("a line that ends without CRLF")]
    LineEnd,
    /// Version 1: neither TCP4, TCP6 nor UNKNOWN.
    #[error("a protocol that is neither TCP4, TCP6 nor UNKNOWN")]
    Protocol,
    /// Version 1: not two addresses and two ports, one space before each.
    #[error("not two addresses and two ports with one space before each")]
    Fields,
    /// Version 1: an address that isn't one of the protocol's.
    #[error("an address that isn't one of the protocol's")]
    Address,
    /// Version 1: a port that isn't a decimal number up to 65535 without leading zeros.
    #[error("a port that isn't a number from 0 to 65535")]
    Port,
    /// Version 2: another number of the version.
    #[error("a binary header of a version other than 2")]
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    #[error("a command that is neither LOCAL nor PROXY")]
    Command,
    /// Version 2: an address family that doesn't exist.
    #[error("an unknown address family")]
    Family,
    /// Version 2: a transport that doesn't exist.
    #[error("an unknown transport")]
    Transport,
    /// Version 2: longer than this proxy takes.
    #[error("a header of more than {V2_BYTES_MAX} bytes")]
    TooLong,
    /// Version 2: no room for the addresses of its family.
    #[error("a header that is too short for its addresses")]
    TooShort,
    /// Version 2: a TLV that ends after the header.
    #[error("a TLV that is cut off")]
    Tlv,
    /// Version 2: a unique id of more than 128 bytes.
    #[error("a unique id of more than 128 bytes")]
    UniqueId,
    /// Version 2: a checksum that isn't four bytes, or more than one.
    #[error("a checksum that isn't one of four bytes")]
    ChecksumForm,
    /// Version 2: the checksum doesn't fit what was received.
    #[error("a checksum that doesn't fit the header")]
    Checksum,
}

impl Bad {
    /// A short name for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::LineEnd => "line_end",
            Self::Protocol => "protocol",
            Self::Fields => "fields",
            Self::Address => "address",
            Self::Port => "port",
            Self::Version => "version",
            Self::Command => "command",
            Self::Family => "family",
            Self::Transport => "transport",
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::Tlv => "tlv",
            Self::UniqueId => "unique_id",
            Self::ChecksumForm => "checksum_form",
            Self::Checksum => "checksum",
        }
    }
}
