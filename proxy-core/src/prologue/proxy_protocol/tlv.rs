//! TLVs: a type, a length, and what the sender says besides the addresses.

/// The protocols that the client offered, as in the TLS extension.
pub const ALPN: u8 = 0x01;
/// The name that the client asked for: the SNI under TLS.
pub const AUTHORITY: u8 = 0x02;
/// The checksum of the header.
pub const CRC32C: u8 = 0x03;
/// Says nothing; pads.
pub const NOOP: u8 = 0x04;
/// What identifies the connection across proxies.
pub const UNIQUE_ID: u8 = 0x05;

/// Bytes that a unique id can have.
pub const UNIQUE_ID_BYTES_MAX: usize = 128;
/// Type and length.
pub(super) const HEAD: usize = 3;

/// One TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type.
    pub kind: u8,
    /// Its value.
    pub value: &'a [u8],
}

/// All TLVs of a header, whole and in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    bytes: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// None if one of them is cut off.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = split(rest)?;
        }
        Some(Self { bytes })
    }

    /// As they were received.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Tlv<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (tlv, after) = split(rest)?;
            rest = after;
            Some(tlv)
        })
    }

    /// The value of the first one of a type.
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        self.iter()
            .find(|tlv| tlv.kind == kind)
            .map(|tlv| tlv.value)
    }
}

fn split(bytes: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [kind, high, low] = *head;
    let (value, rest) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())?;
    Some((Tlv { kind, value }, rest))
}
