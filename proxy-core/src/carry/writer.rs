//! Writing records.

use std::net::SocketAddr;
use std::time::Instant;

use crate::carry::anchor::Anchor;
use crate::carry::{HEADER_BYTES, Kind};

/// Writes fields, each once and none that says nothing.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    anchor: Anchor,
}

/// Adds a record, whose fields `write` writes.
pub(crate) fn record(
    out: &mut Vec<u8>,
    kind: Kind,
    version: u16,
    anchor: Anchor,
    write: impl FnOnce(&mut Writer<'_>),
) {
    out.push(kind as u8);
    out.extend_from_slice(&version.to_le_bytes());
    with_length(out, |out| write(&mut Writer { out, anchor }));
    debug_assert!(out.len() >= HEADER_BYTES);
}

impl Writer<'_> {
    /// Bytes, unless there are none.
    pub(crate) fn bytes(&mut self, tag: u8, value: &[u8]) {
        if !value.is_empty() {
            self.field(tag, |out| out.extend_from_slice(value));
        }
    }

    /// A text, unless it is empty.
    pub(crate) fn text(&mut self, tag: u8, value: &str) {
        self.bytes(tag, value.as_bytes());
    }

    /// A number, unless it is zero.
    pub(crate) fn number(&mut self, tag: u8, value: u64) {
        self.maybe_number(tag, (value != 0).then_some(value));
    }

    /// A number, which may be zero, or none.
    pub(crate) fn maybe_number(&mut self, tag: u8, value: Option<u64>) {
        if let Some(value) = value {
            let bytes = value.to_le_bytes();
            let length = bytes.iter().rposition(|&byte| byte != 0);
            let length = length.map_or(0, |last| last + 1);
            self.field(tag, |out| out.extend_from_slice(&bytes[..length]));
        }
    }

    /// A flag, if it is set.
    pub(crate) fn flag(&mut self, tag: u8, value: bool) {
        if value {
            self.field(tag, |_| {});
        }
    }

    pub(crate) fn moment(&mut self, tag: u8, moment: Instant) {
        self.maybe_moment(tag, Some(moment));
    }

    pub(crate) fn maybe_moment(&mut self, tag: u8, moment: Option<Instant>) {
        let nanos = moment.map(|moment| self.anchor.carried(moment).cast_unsigned());
        self.maybe_number(tag, nanos);
    }

    pub(crate) fn address(&mut self, tag: u8, address: Option<SocketAddr>) {
        if let Some(address) = address {
            self.text(tag, &address.to_string());
        }
    }

    /// Something with fields of its own.
    pub(crate) fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Writer<'_>)) {
        let anchor = self.anchor;
        self.field(tag, |out| write(&mut Writer { out, anchor }));
    }

    /// The same for each of several things of a kind, unless there are none.
    pub(crate) fn each<T>(
        &mut self,
        tag: u8,
        all: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Writer<'_>, T),
    ) {
        let mut all = all.into_iter().peekable();
        if all.peek().is_none() {
            return;
        }
        let anchor = self.anchor;
        self.field(tag, |out| {
            for one in all {
                with_length(out, |out| write(&mut Writer { out, anchor }, one));
            }
        });
    }

    fn field(&mut self, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(tag);
        with_length(self.out, write);
    }
}

/// What `write` writes, with its length before it.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    // Nothing is as long as that: see the bounds.
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}
