//! The protocols that a client offers (ALPN).

use std::fmt;

use super::reader::Reader;
use super::{ALPN_BYTES_MAX, Bad};

/// Protocols in the client's order of preference. Without the extension there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alpn {
    /// Each with its length before it, as they were received.
    list: Box<[u8]>,
}

impl Alpn {
    pub(super) fn new(extension: &[u8]) -> Result<Self, Bad> {
        let list = read(extension).map_err(|_| Bad::Alpn)?;
        Ok(Self { list: list.into() })
    }

    /// A list of these. One that is empty, longer than 255 bytes, or beyond [`ALPN_BYTES_MAX`] is left out.
    pub fn of<'p>(protocols: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut list = Vec::new();
        for protocol in protocols {
            let room = ALPN_BYTES_MAX - list.len();
            if let Ok(length @ 1..) = u8::try_from(protocol.len())
                && usize::from(length) < room
            {
                list.push(length);
                list.extend_from_slice(protocol);
            }
        }
        Self { list: list.into() }
    }

    /// A list as it was received ([`Alpn::as_bytes`]); none where it is broken.
    pub(crate) fn of_list(list: &[u8]) -> Option<Self> {
        is_list(list).then(|| Self { list: list.into() })
    }

    /// Each protocol.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut list = Reader(&self.list);
        std::iter::from_fn(move || list.vector8().ok())
    }

    /// Whether one of them is this one.
    pub fn contains(&self, protocol: &[u8]) -> bool {
        self.iter().any(|offered| offered == protocol)
    }

    /// Whether the client offers none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// As in the extension, without the length of the whole list.
    pub fn as_bytes(&self) -> &[u8] {
        &self.list
    }
}

/// With commas between them, and what isn't printable escaped.
impl fmt::Display for Alpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, protocol) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            protocol.escape_ascii().fmt(f)?;
        }
        Ok(())
    }
}

fn read(extension: &[u8]) -> Result<&[u8], Bad> {
    let mut extension = Reader(extension);
    let list = extension.vector16()?;
    if extension.is_empty() && is_list(list) {
        Ok(list)
    } else {
        Err(Bad::Alpn)
    }
}

/// Whether these are protocols, each with its length before it.
fn is_list(list: &[u8]) -> bool {
    if list.is_empty() || list.len() > ALPN_BYTES_MAX {
        return false;
    }
    let mut protocols = Reader(list);
    while !protocols.is_empty() {
        if !protocols.vector8().is_ok_and(|one| !one.is_empty()) {
            return false;
        }
    }
    true
}
