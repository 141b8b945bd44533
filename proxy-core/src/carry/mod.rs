//! What crosses from one process to the next one at an upgrade, as bytes: the format and its rules.
//!
//! The state of a connection ([`Detached::encode`](crate::Detached::encode)) is a record, and so is what is known of servers and
//! counted for limits ([`encode_verdicts`]). What metrics have counted is the admin server's. A record is a header and fields.
//!
//! ```text
//! record   kind: u8, version: u16, length of the fields: u32, fields
//! field    tag: u8, length of the value: u32, value
//! ```
//!
//! - Integers of header and tag are little-endian. A number as a value has 0 to 8 bytes, little-endian, without zeros at the
//!   end. A flag has no bytes: it is there, or it is not. Text is UTF-8. Addresses and reasons are text, so that their order in
//!   the code means nothing. What has fields of its own is nested: its value is fields.
//! - What has its usual value is not written: zero, false, none, an empty text. So the same state is always the same bytes.
//! - A moment is nanoseconds of the kernel's CLOCK_MONOTONIC, which all processes since a boot share ([`Anchor`]). It may be
//!   negative.
//! - Names stand for objects: of listeners, upstreams, servers (by upstream and label) and routes. What the reader's
//!   configuration lacks is known under the name that it had, like what a reload has removed ([`Adoption`]).
//! - Descriptors go beside the bytes, in an order that the record's kind says.
//!
//! How it changes:
//!
//! - A reader refuses a tag that it doesn't know if it is below [`SKIPPED_FROM`], and skips it otherwise. So what may be lost gets
//!   a new tag from there on, and nothing else changes. Tags are never used again for something else.
//! - What must not be lost, or means something else than before, makes another [`VERSION`]. Two processes agree on the highest
//!   version that both have ([`agree`]) before anything is sent, and the writer writes that. An upgrade fails before it has begun
//!   where there is none.
//! - A reader trusts nothing: each length is checked against what is left, each value against its bound, and values against each
//!   other. What is wrong is an [`Error`], and nothing of it is kept.

mod adoption;
mod anchor;
mod elsewhere;
mod error;
mod moment;
mod reader;
pub(crate) mod verdicts;
mod writer;

pub use self::adoption::Adoption;
pub(crate) use self::adoption::Kept;
pub use self::anchor::Anchor;
pub use self::elsewhere::Elsewhere;
pub use self::error::Error;
pub use self::moment::Moment;
pub(crate) use self::reader::Fields;
pub use self::verdicts::{VERDICTS_BYTES_MAX, apply_verdicts, encode_verdicts};
pub(crate) use self::writer::{Writer, record};

use std::ops::RangeInclusive;

/// The format that this process writes, and the newest one that it reads.
pub const VERSION: u16 = 1;

/// The oldest format that it reads.
pub const VERSION_MIN: u16 = 1;

/// Tags from here on are skipped by who doesn't know them.
pub const SKIPPED_FROM: u8 = 32;

/// Tags that there can be.
pub(crate) const TAGS_MAX: u8 = 64;

/// Bytes of a text: names, labels, addresses, reasons.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Bytes that a direction of a connection holds outside of a pipe: a worker's buffer, or a prologue and a header before it.
pub const HELD_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the record of a connection.
pub const CONNECTION_BYTES_MAX: usize = 1024 * 1024;

/// Bytes and counts that are carried, so that those that come never make them overflow.
pub(crate) const COUNT_MAX: u64 = 1 << 62;

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 7;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One connection, which has a server.
    Connection = 1,
    /// What is known of servers, and what limits have counted.
    Verdicts = 2,
    /// One client that waits for a place at a server.
    Waiting = 3,
}

/// The version that both of two processes have; none if there is none.
pub fn agree(theirs: RangeInclusive<u16>) -> Option<u16> {
    let version = VERSION.min(*theirs.end());
    (version >= VERSION_MIN && version >= *theirs.start()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_speak_the_highest_version_that_both_have() {
        assert_eq!(agree(VERSION_MIN..=VERSION), Some(VERSION));
        assert_eq!(agree(VERSION..=VERSION + 5), Some(VERSION));
        assert_eq!(agree(VERSION + 1..=VERSION + 5), None);
        assert_eq!(agree(0..=VERSION_MIN - 1), None);
    }
}
